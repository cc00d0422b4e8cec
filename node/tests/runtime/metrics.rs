//! What a running node counts: latencies from real deliveries, syncs from real storage, drills apart.

use refpoint::api::backend::Backend as _;
use refpoint_protocol::{
    machine::Command,
    message::{draft::Draft, header::Precedence},
    testing::Federation,
};

use super::{CODES, Running, body, wait_for};

#[tokio::test]
async fn deliveries_and_acknowledgements_are_timed_and_drills_count_apart() {
    let federation = Federation::new(95, &CODES, 1);
    let br = Running::start(&federation, "BR", &[]).await;
    let fr = Running::start(&federation, "FR", &[&br]).await;
    fr.until_knows(&br).await;
    br.until_knows(&fr).await;
    let message = fr.send(&br, Precedence::Flash, "text").await.unwrap();
    fr.until_delivered(message).await;
    let mut drill = body("drill");
    drill.drill = true;
    let draft = Draft {
        recipients: vec![br.unit.code.clone()],
        precedence: Precedence::Flash,
        lifetime: None,
        body: drill,
    };
    fr.node.handle().command(Command::Send(Box::new(draft))).await.unwrap().unwrap();
    br.acknowledge(message).await;

    let backend = fr.backend();
    let wanted = [
        "refpoint_relay_latency_seconds_count{precedence=\"flash\",drill=\"false\"} 1",
        "refpoint_relay_latency_seconds_count{precedence=\"flash\",drill=\"true\"} 1",
        "refpoint_acknowledgement_seconds_count{precedence=\"flash\",drill=\"false\"} 1",
        "refpoint_messages_sent{precedence=\"flash\",drill=\"false\",state=\"delivered\"} 1",
        "refpoint_messages_sent{precedence=\"flash\",drill=\"true\",state=\"delivered\"} 1",
        "refpoint_member_connected{member=\"BR\"} 1",
    ];
    let page = wait_for(async || {
        let page = backend.metrics().await.unwrap().text().unwrap();
        wanted.iter().all(|wanted| page.lines().any(|line| line == *wanted)).then_some(page)
    });
    let page = page.await;
    let figure = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse::<f64>().unwrap()
    };
    assert!(figure("refpoint_store_sync_seconds_count") >= 1.0);
    let sum = figure("refpoint_relay_latency_seconds_sum{precedence=\"flash\",drill=\"false\"}");
    assert!(sum > 0.0 && sum < 60.0, "{sum} s");
    let arrived = br.backend().metrics().await.unwrap().text().unwrap();
    for (of, count) in [("false", 1), ("true", 1)] {
        let line = format!("refpoint_messages_arrived_total{{precedence=\"flash\",drill=\"{of}\"}} {count}");
        assert!(arrived.lines().any(|found| found == line), "{line} is missing in\n{arrived}");
    }
    fr.stop().await.unwrap();
    br.stop().await.unwrap();
}
