//! The alert command: once for each message, the most urgent first, whatever floods and whatever the log forgot.

use std::path::Path;

use refpoint::{api::backend::Backend as _, store::Keys};

use super::*;

/// A command that notes whose message it is woken for, and does not end before `go` is there.
fn command(folder: &Path) -> Vec<String> {
    let script = r#"cat >> "$0/alerts"; while [ ! -e "$0/go" ]; do sleep 0.05; done"#;
    ["sh", "-c", script, folder.to_str().unwrap()].map(String::from).to_vec()
}

fn alerts(folder: &Path) -> Vec<serde_json::Value> {
    let lines = std::fs::read_to_string(folder.join("alerts")).unwrap_or_default();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn until_alerts(folder: &Path, count: usize) -> Vec<serde_json::Value> {
    wait_for(async || Some(alerts(folder)).filter(|alerts| alerts.len() >= count)).await
}

#[tokio::test]
async fn a_flood_neither_hides_nor_delays_the_flash_message_of_another() {
    let (federation, folder) = (Federation::new(80, &CODES, 1), tempfile::tempdir().unwrap());
    let store = Arc::new(MemoryStore::new());
    store.apply(&founding(&federation)).unwrap();
    let sg = Running::start_on(&federation, "SG", &[], store, command(folder.path())).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    let ke = Running::start(&federation, "KE", &[&sg]).await;
    br.until_knows(&sg).await;
    ke.until_knows(&sg).await;

    let first = br.send(&sg, Precedence::Routine, "flood").await.unwrap();
    br.until_delivered(first).await;
    until_alerts(folder.path(), 1).await;
    let mut flood = Vec::new();
    for _ in 0..70 {
        flood.push(br.send(&sg, Precedence::Routine, "flood").await.unwrap());
    }
    for message in flood {
        br.until_delivered(message).await;
    }
    let flash = ke.send(&sg, Precedence::Flash, "flash").await.unwrap();
    ke.until_delivered(flash).await;
    // 64 of one sender wait, and six have no alert of their own: `status` says so.
    let note = wait_for(async || sg.backend().status().await.unwrap().alert_failure).await;
    assert!(note.starts_with("6 messages came faster"), "{note}");
    std::fs::write(folder.path().join("go"), "").unwrap();
    let alerts = until_alerts(folder.path(), 66).await;
    assert_eq!(alerts[1]["message"], flash.to_string(), "the flash is the next, not the last");
    assert_eq!(alerts[1]["country"], "KE");
    assert!(br.stop().await.is_ok() && ke.stop().await.is_ok() && sg.stop().await.is_ok());
}

#[tokio::test]
async fn what_is_acknowledged_before_its_turn_wakes_nobody() {
    let (federation, folder) = (Federation::new(82, &CODES, 1), tempfile::tempdir().unwrap());
    let store = Arc::new(MemoryStore::new());
    store.apply(&founding(&federation)).unwrap();
    let sg = Running::start_on(&federation, "SG", &[], store, command(folder.path())).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    br.until_knows(&sg).await;
    let mut sent = Vec::new();
    for text in ["rings", "is acknowledged meanwhile", "rings too"] {
        sent.push(br.send(&sg, Precedence::Flash, text).await.unwrap());
        br.until_delivered(*sent.last().unwrap()).await;
        until_alerts(folder.path(), 1).await;
    }
    sg.acknowledge(sent[1]).await;
    std::fs::write(folder.path().join("go"), "").unwrap();
    let alerts = until_alerts(folder.path(), 2).await;
    assert_eq!(alerts[1]["message"], sent[2].to_string());
    assert_eq!(alerts.len(), 2);
    assert!(br.stop().await.is_ok() && sg.stop().await.is_ok());
}

#[tokio::test]
async fn what_the_event_log_forgot_is_found_in_the_inbox_and_nothing_is_said_twice() {
    let (federation, folder) = (Federation::new(81, &CODES, 1), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("go"), "").unwrap();
    let store = Arc::new(MemoryStore::new());
    store.apply(&founding(&federation)).unwrap();
    let sg = Running::start_on(&federation, "SG", &[], store.clone(), command(folder.path())).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    br.until_knows(&sg).await;
    let stored = || store.value(Table::OwnState, b"alerts").unwrap();
    let at_first = wait_for(async || stored()).await;
    let told = br.send(&sg, Precedence::Flash, "told").await.unwrap();
    until_alerts(folder.path(), 1).await;
    wait_for(async || stored().filter(|row| *row != at_first)).await;
    assert!(sg.stop().await.is_ok() && br.stop().await.is_ok());

    // A run without a command takes in another message, and the log rolls over.
    let sg = Running::start_on(&federation, "SG", &[], store.clone(), Vec::new()).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    br.until_knows(&sg).await;
    let missed = br.send(&sg, Precedence::Priority, "missed").await.unwrap();
    br.until_delivered(missed).await;
    assert!(sg.stop().await.is_ok() && br.stop().await.is_ok());
    let mut events: Vec<_> = store.scan(Table::Events, Keys::All).map(|row| row.unwrap().0).collect();
    events.pop();
    let forgotten: Vec<_> = events.into_iter().map(|key| Change::delete(Table::Events, key)).collect();
    store.apply(&forgotten).unwrap();

    let sg = Running::start_on(&federation, "SG", &[], store, command(folder.path())).await;
    let alerts = until_alerts(folder.path(), 2).await;
    let messages: Vec<_> = alerts.iter().map(|alert| alert["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(messages, [told.to_string(), missed.to_string()]);
    assert!(sg.stop().await.is_ok());
}

#[tokio::test]
async fn an_alarm_that_had_not_ended_rings_again_after_a_start_also_the_very_first() {
    let (federation, folder) = (Federation::new(82, &CODES, 1), tempfile::tempdir().unwrap());
    let store = Arc::new(MemoryStore::new());
    store.apply(&founding(&federation)).unwrap();
    let sg = Running::start_on(&federation, "SG", &[], store.clone(), command(folder.path())).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    br.until_knows(&sg).await;
    let message = br.send(&sg, Precedence::Flash, "first").await.unwrap();
    br.until_delivered(message).await;
    until_alerts(folder.path(), 1).await;
    assert!(sg.stop().await.is_ok() && br.stop().await.is_ok());
    store.crash();

    let sg = Running::start_on(&federation, "SG", &[], store, command(folder.path())).await;
    let alerts = until_alerts(folder.path(), 2).await;
    assert!(alerts.iter().all(|alert| alert["message"] == message.to_string()), "{alerts:?}");
    std::fs::write(folder.path().join("go"), "").unwrap();
    assert!(sg.stop().await.is_ok());
}
