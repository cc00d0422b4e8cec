//! The socket's file: whose it is, and who may reach it.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::net::UnixListener};

use refpoint::{
    api::socket::{Socket, SocketError},
    client::{Client, ClientError},
};

use super::fake::Server;

#[tokio::test]
async fn owner_and_group_alone_reach_the_socket() {
    let server = Server::start();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&server.socket), 0o660);
    assert_eq!(mode(server.socket.parent().unwrap()) & 0o027, 0);
    let names = fs::read_dir(server.socket.parent().unwrap()).unwrap().count();
    assert_eq!(names, 1, "nothing else is left beside it");
}

#[tokio::test]
async fn a_second_node_is_refused_and_the_first_goes_on() {
    let server = Server::start();
    assert!(matches!(Socket::bind(&server.socket), Err(SocketError::InUse { .. })));
    server.client().status().await.unwrap();
}

#[tokio::test]
async fn a_killed_nodes_socket_is_replaced_and_removed_at_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the system leaves the file");
    let socket = Socket::bind(&path).unwrap();
    let again = Socket::bind(&path);
    assert!(matches!(again, Err(SocketError::InUse { .. })));
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    fs::write(&path, "mine").unwrap();
    let refused = Socket::bind(&path);
    assert!(matches!(refused, Err(SocketError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[tokio::test]
async fn a_successors_socket_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    let first = Socket::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Socket::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn without_a_node_the_client_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let status = Client::new(folder.path().join("node.sock")).status().await;
    assert!(matches!(status, Err(ClientError::NotRunning { .. })));
}
