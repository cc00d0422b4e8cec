//! A node that stops while somebody waits for its answer.

use super::*;

#[tokio::test]
async fn what_a_failing_disk_leaves_open_is_not_told_as_refused() {
    let federation = Federation::new(75, &CODES, 1);
    let br = Running::start(&federation, "BR", &[]).await;
    let (handle, store) = (br.node.handle().clone(), br.store.clone());
    let send = || {
        let (recipients, precedence) = (vec![federation.unit("KE").code.clone()], Precedence::Flash);
        let draft = Draft { recipients, precedence, lifetime: None, body: body("under way") };
        handle.command(Command::Send(Box::new(draft)))
    };
    let run = tokio::spawn(br.node.run_until(CancellationToken::new()));
    assert!(matches!(send().await, Ok(Ok(Reply::Queued { .. }))));
    store.fail_next_sync();
    // It may be on the device all the same, and go out after the next start.
    assert!(matches!(send().await, Err(Unanswered::Undecided)));
    assert!(run.await.unwrap().is_err(), "a device that fails stops the node");
    assert!(matches!(send().await, Err(Unanswered::NotTaken)));
}
