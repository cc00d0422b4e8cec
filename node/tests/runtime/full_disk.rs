//! A disk without room: nothing is said that is not stored, nobody is cut off, and the node goes on by itself.

use refpoint::{
    api::backend::{Backend as _, BackendError},
    store::{Fullness, Keys},
};

use refpoint_protocol::relay::event::SubmitRefusal;

use super::*;

#[tokio::test]
async fn a_receipt_that_finds_no_room_stops_no_node_and_counts_once_there_is_room() {
    let federation = Federation::new(70, &CODES, 1);
    let sg = Running::start(&federation, "SG", &[]).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    br.until_knows(&sg).await;
    let message = br.send(&sg, Precedence::Flash, "before").await.unwrap();
    br.until_delivered(message).await;

    // The recipient's disk is full first, so that the next message waits at the sender for its receipt.
    sg.store.fill_disk(Fullness::Full);
    let message = br.send(&sg, Precedence::Flash, "meanwhile").await.unwrap();
    br.store.fill_disk(Fullness::Full);
    sg.store.fill_disk(Fullness::Space);
    let note = wait_for(async || {
        let notes = br.backend().status().await.unwrap().storage_notes;
        notes.into_iter().find(|note| note.contains("the disk is full"))
    });
    assert!(note.await.contains("waits until there is room"));
    let refused = br.backend().resume().await.unwrap_err();
    assert!(matches!(refused, BackendError::NoRoom { .. }), "{refused}");

    br.store.fill_disk(Fullness::Space);
    br.until_delivered(message).await;
    let message = br.send(&sg, Precedence::Flash, "after").await.unwrap();
    br.until_delivered(message).await;
    assert!(br.stop().await.is_ok() && sg.stop().await.is_ok());
}

#[tokio::test]
async fn what_was_refused_to_the_officer_is_sent_to_nobody() {
    let federation = Federation::new(73, &CODES, 1);
    let sg = Running::start(&federation, "SG", &[]).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    br.until_knows(&sg).await;
    // Sealed while the disk is still being asked: what is ready first must not go out.
    br.store.fill_disk(Fullness::Low);
    for _ in 0..20 {
        let refused = br.send(&sg, Precedence::Flash, "refused").await.unwrap_err();
        assert_eq!(refused, CommandRefused::Submit(SubmitRefusal::NoRoom));
    }
    br.store.fill_disk(Fullness::Space);
    let message = br.send(&sg, Precedence::Flash, "after").await.unwrap();
    br.until_delivered(message).await;
    let came = sg.until(|machine, _| Some(machine.messages().inbox_page(true, 100).len())).await;
    assert_eq!(came, 1, "only the last was accepted");
    assert!(br.stop().await.is_ok() && sg.stop().await.is_ok());
}

#[tokio::test]
async fn a_node_whose_disk_stays_full_stops_in_order_and_says_nothing_that_it_did_not_store() {
    let federation = Federation::new(71, &CODES, 1);
    let sg = Running::start(&federation, "SG", &[]).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    br.until_knows(&sg).await;
    sg.store.fill_disk(Fullness::Full);
    let message = br.send(&sg, Precedence::Flash, "waits").await.unwrap();
    br.store.fill_disk(Fullness::Full);
    sg.store.fill_disk(Fullness::Space);
    wait_for(async || {
        let notes = br.backend().status().await.unwrap().storage_notes;
        notes.iter().any(|note| note.contains("the disk is full")).then_some(())
    })
    .await;
    let store = br.store.clone();
    assert!(br.stop().await.is_ok());
    store.fill_disk(Fullness::Space);
    // What was not stored was not done: the receipt comes again.
    let br = Running::start_on(&federation, "BR", &[&sg], store, Vec::new()).await;
    br.until_delivered(message).await;
    assert!(br.stop().await.is_ok() && sg.stop().await.is_ok());
}

#[tokio::test]
async fn a_sealing_key_that_finds_no_room_is_made_once_there_is_some() {
    let federation = Federation::new(72, &CODES, 1);
    let store = Arc::new(MemoryStore::new());
    store.apply(&founding(&federation)).unwrap();
    store.fill_disk(Fullness::Full);
    let sg = Running::start_on(&federation, "SG", &[], store, Vec::new()).await;
    let br = Running::start(&federation, "BR", &[&sg]).await;
    let node = node_key(&sg.unit.nodes[0]);
    br.until(move |machine, _| machine.connected().contains_key(&node).then_some(())).await;
    sg.store.fill_disk(Fullness::Space);
    br.until_knows(&sg).await;
    assert!(br.stop().await.is_ok() && sg.stop().await.is_ok());
}

#[tokio::test]
async fn what_found_no_room_is_given_to_others_and_stored_once_there_is_some() {
    let federation = Federation::new(74, &CODES, 1);
    let sg = Running::start(&federation, "SG", &[]).await;
    sg.store.fill_disk(Fullness::Low);
    let br = Running::start(&federation, "BR", &[&sg]).await;
    sg.until_knows(&br).await;
    let held = |store: &MemoryStore| store.scan(Table::NodeRecords, Keys::All).count();
    let before = held(&sg.store);
    assert!(br.stop().await.is_ok());
    // Kenya meets nobody but Singapore, which has Brazil's record in memory alone.
    let ke = Running::start(&federation, "KE", &[&sg]).await;
    let brazil = federation.unit("BR").code.clone();
    ke.until(move |machine, _| {
        let evidence = machine.evidence();
        let mut listings = evidence.listings().iter().filter(|listing| listing.member == brazil);
        listings.any(|listing| evidence.directory().record(listing).is_some()).then_some(())
    })
    .await;
    let notes = sg.backend().status().await.unwrap().storage_notes;
    assert!(notes.iter().any(|note| note.contains("they wait in memory")), "{notes:?}");
    assert_eq!(held(&sg.store), before, "there was no room");
    sg.store.fill_disk(Fullness::Space);
    let store = sg.store.clone();
    assert!(ke.stop().await.is_ok() && sg.stop().await.is_ok());
    store.crash();
    assert!(held(&store) > before);
}

#[tokio::test]
async fn a_message_is_taken_back_although_there_is_no_room_to_say_so() {
    let federation = Federation::new(75, &CODES, 1);
    let br = Running::start(&federation, "BR", &[]).await;
    // Kenya's node is away.
    let kenya = federation.unit("KE").code.clone();
    let message = br.send_to(&kenya, Precedence::Flash, "sent in error").await.unwrap();

    br.store.fill_disk(Fullness::Low);
    let statement = Statement {
        answers: message,
        word: Word::Withdrawn,
        role: Redacted("duty".into()),
        will: None,
        form: None,
        by: None,
    };
    let said = Command::State(Box::new(StatementDraft { statement, text: None }));
    let refused = br.node.handle().command(said).await.unwrap().unwrap_err();
    assert_eq!(refused, CommandRefused::Submit(SubmitRefusal::NoRoom));
    br.store.fill_disk(Fullness::Space);

    // It stays so over a restart.
    let store = br.store.clone();
    assert!(br.stop().await.is_ok());
    let br = Running::start_on(&federation, "BR", &[], store, Vec::new()).await;
    let state = br.until(|machine, _| Some(machine.messages().outbox()[0].recipients[0].state)).await;
    assert_eq!(state, RecipientState::Stopped);
    assert!(br.stop().await.is_ok());
}
