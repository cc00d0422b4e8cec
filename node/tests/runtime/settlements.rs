//! Running nodes settle a charter version by their heads, keep that, and apply nothing that is signed beside it.

use refpoint::api::{backend::Backend as _, views::status::StatusView};
use refpoint_protocol::{
    machine::{Batch, Carriage, Command},
    membership::charter::{MemberStatus, WorkingGroup},
    storage::{Change, Table},
    testing::{Federation, chains::IntoAny as _},
};

use super::*;

/// A node signs its first head twenty seconds after its start, so this takes as long.
#[tokio::test]
async fn three_running_nodes_settle_a_version_and_apply_nothing_beside_it() {
    let federation = Federation::new(97, &CODES, 1);
    let signers = [&federation.unit("BR").root, &federation.unit("FR").root];
    let first = [&federation.founding];
    let second = federation.successor(&first, |it| it.members[2].group = WorkingGroup::Africa, &signers);
    let beside = federation.successor(&first, |it| it.members[3].status = MemberStatus::Suspended, &signers);
    let row = encode(&**second.envelope()).unwrap();
    let start = async |code: &'static str, hints: &[&Running]| {
        let store = Arc::new(MemoryStore::new());
        store.apply(&founding(&federation)).unwrap();
        store.apply(&[Change::put(Table::Charters, *second.id().as_bytes(), row.clone())]).unwrap();
        Running::start_on(&federation, code, hints, store, Vec::new()).await
    };
    let br = start("BR", &[]).await;
    let fr = start("FR", &[&br]).await;
    let sg = start("SG", &[&br, &fr]).await;
    // Three of four members are more than two thirds.
    let version = second.id().into();
    let settled = move |machine: &Machine, _: Timestamp| {
        (machine.evidence().membership().settled() == Some(version)).then_some(())
    };
    for node in [&br, &fr, &sg] {
        node.until(settled).await;
    }
    let status = fr.backend().status().await.unwrap();
    assert_eq!((status.charter.settled.map(|it| it.0), status.charter.beside_count), (Some(2), 0));

    let documents = vec![Ok(beside.any())];
    let batch = Batch { from: None, documents, bodies: Vec::new(), carriage: Carriage::Hand };
    br.node.handle().command(Command::Import(batch)).await.unwrap().unwrap();
    let id = beside.id().into();
    sg.until(move |machine, _| machine.evidence().trust().charter(&id).map(drop)).await;
    let status = sg.backend().status().await.unwrap();
    assert!(status.charter.this_member_active, "the version that suspends SG is not applied");
    let shown = &status.charter.beside[0];
    assert_eq!((shown.charter, shown.version.0, status.charter.beside_count), (id, 2, 1));
    assert_eq!(shown.signed_by.iter().map(|code| code.as_str()).collect::<Vec<_>>(), ["BR", "FR"]);
    let page = sg.backend().metrics().await.unwrap().text().unwrap();
    for line in ["refpoint_charter_settled_version 2", "refpoint_charter_beside_settled 1"] {
        assert!(page.lines().any(|it| it == line), "{line} in {page}");
    }
    let view = StatusView::judge(status);
    let finding = view.findings.iter().find(|it| it.code == "charter-beside-settled").unwrap();
    assert!(finding.what.contains("signed by BR, FR"), "{}", finding.what);

    // It lies with the documents: a start needs no head to know it.
    let store = Arc::clone(&sg.store);
    assert!(sg.stop().await.is_ok());
    let sg = Running::start_on(&federation, "SG", &[&br], store, Vec::new()).await;
    let again = sg.node.handle().query(settled).await.unwrap();
    assert_eq!(again, Some(()));
    assert!(br.stop().await.is_ok() && fr.stop().await.is_ok() && sg.stop().await.is_ok());
}
