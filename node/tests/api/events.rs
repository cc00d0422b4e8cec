//! The stream of events: numbered, resumable, honest about gaps.

use refpoint::{
    api::views::event::{Event, StreamGap, StreamOpened},
    client::{ClientError, Events, Followed, StreamItem},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use super::{
    fake::{DEADLINE, Server},
    samples,
};

fn event(code: &str) -> Event {
    Event::DirectoryChanged { member: samples::member(code) }
}

async fn next(events: &mut Events) -> StreamItem {
    timeout(DEADLINE, events.next()).await.expect("an item in time").unwrap().expect("the stream goes on")
}

async fn number(events: &mut Events) -> u64 {
    match next(events).await {
        StreamItem::Event(event) => event.number,
        other => panic!("an event was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn events_come_numbered_from_now_on() {
    let server = Server::start();
    server.fake.emit(event("FR"));
    let mut events = server.client().events(None).await.unwrap();
    assert_eq!(next(&mut events).await, StreamItem::Opened(StreamOpened { newest: 1 }));
    server.fake.emit(event("BR"));
    assert_eq!(number(&mut events).await, 2);
    assert_eq!(events.last(), Some(2));
}

#[tokio::test]
async fn a_reader_resumes_after_its_number_without_loss_or_repetition() {
    let server = Server::start();
    for _ in 0..5 {
        server.fake.emit(event("FR"));
    }
    let mut events = server.client().events(Some(3)).await.unwrap();
    server.fake.emit(event("BR"));
    assert_eq!([number(&mut events).await, number(&mut events).await, number(&mut events).await], [4, 5, 6]);
}

#[tokio::test]
async fn the_last_event_id_header_resumes_too_and_wins() {
    let server = Server::start();
    for _ in 0..3 {
        server.fake.emit(event("FR"));
    }
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    let request = "GET /v1/events?after=0 HTTP/1.1\r\nhost: x\r\nLast-Event-ID: 2\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("id: 3") {
        let mut bytes = [0; 4_096];
        let read = timeout(DEADLINE, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert_ne!(read, 0, "{answer}");
        answer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    assert!(answer.contains("text/event-stream") && answer.contains("event: event"), "{answer}");
    assert!(answer.contains("\"type\":\"directory-changed\"") && !answer.contains("id: 2\n"), "{answer}");
}

#[tokio::test]
async fn events_no_longer_kept_are_a_gap() {
    let server = Server::start();
    for _ in 0..6 {
        server.fake.emit(event("FR"));
    }
    server.fake.change(|state| state.events.retain(|event| event.number > 4));
    let mut events = server.client().events(Some(1)).await.unwrap();
    assert_eq!(next(&mut events).await, StreamItem::Gap(StreamGap { after: 1, resumed: 4 }));
    assert_eq!([number(&mut events).await, number(&mut events).await], [5, 6]);
}

#[tokio::test]
async fn a_number_from_before_a_restored_backup_is_a_gap() {
    let server = Server::start();
    server.fake.emit(event("FR"));
    let mut events = server.client().events(Some(900)).await.unwrap();
    assert_eq!(next(&mut events).await, StreamItem::Gap(StreamGap { after: 900, resumed: 1 }));
    server.fake.emit(event("BR"));
    assert_eq!(number(&mut events).await, 2);
}

#[tokio::test]
async fn a_slow_reader_misses_nothing() {
    let server = Server::start();
    let mut events = server.client().events(Some(0)).await.unwrap();
    // Far more than the backend's channel holds, before the reader reads at all.
    for _ in 0..500 {
        server.fake.emit(event("FR"));
    }
    for expected in 1..=500 {
        assert_eq!(number(&mut events).await, expected);
    }
}

#[tokio::test]
async fn a_follower_goes_on_by_number_over_a_restart() {
    let mut server = Server::start();
    let mut events = server.client().follow(None);
    events.connect().await.unwrap();
    server.fake.emit(event("FR"));
    server.stop().await;
    // It happens while nobody is connected.
    server.fake.emit(event("BR"));
    let mut numbers = Vec::new();
    let mut was_lost = false;
    while numbers.len() < 2 {
        match timeout(DEADLINE, events.next()).await.expect("an item in time").unwrap() {
            Followed::Item(StreamItem::Event(event)) => numbers.push(event.number),
            Followed::Item(StreamItem::Opened(_)) => {}
            Followed::Item(other) => panic!("{other:?}"),
            Followed::Lost(error) => {
                assert!(matches!(error, ClientError::NotRunning { .. }), "{error:?}");
                was_lost = true;
                server.restart();
            }
            Followed::Back => assert!(was_lost),
        }
    }
    assert_eq!((numbers, was_lost), (vec![1, 2], true));
}

#[tokio::test]
async fn the_server_stops_although_streams_are_open() {
    let mut server = Server::start();
    let mut events = server.client().events(Some(0)).await.unwrap();
    assert_eq!(server.fake.listeners(), 1);
    server.stop().await;
    assert!(timeout(DEADLINE, events.next()).await.unwrap().unwrap().is_none());
    assert!(!server.socket.exists());
}

#[tokio::test]
async fn streams_are_bounded_and_a_closed_one_makes_room() {
    let server = Server::start();
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(server.client().events(Some(0)).await.unwrap());
    }
    let refused = server.client().events(Some(0)).await;
    assert!(matches!(refused, Err(ClientError::Problem(problem)) if problem.code == "busy"));
    drop(streams.pop());
    timeout(DEADLINE, async {
        while server.client().events(Some(0)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a closed stream makes room");
}
