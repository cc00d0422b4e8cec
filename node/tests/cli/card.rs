//! The duty card's commands work exactly as they are printed.

use std::fs;

use refpoint::api::views::event::Event;
use refpoint_protocol::message::body::Word;

use super::program;
use crate::api::{
    fake::{Server, sent_id},
    samples,
};

#[tokio::test]
async fn every_command_of_the_duty_card_works_as_printed() {
    let card = include_str!("../../DUTY.md");
    let mut count = 0;
    for line in card.lines().filter(|line| line.starts_with("refpoint ")) {
        count += 1;
        if line == "refpoint message watch" {
            // It goes on until Ctrl-C; its own test runs it.
            continue;
        }
        let server = Server::start();
        fs::write(server.folder.path().join("answer.txt"), "done\n").unwrap();
        let (message, member) = (sent_id(), samples::member("FR"));
        let node = samples::node_key(0xf1);
        let delivered =
            Event::MessageDelivered { message, member: member.clone(), node, late: false, drill: false };
        let acknowledged = Event::StatementMade { message, member, word: Word::Acknowledged, drill: false };
        server.fake.change(|state| state.on_send = vec![delivered, acknowledged]);
        let mut arguments = words(line);
        if line.contains(" withdraw ") {
            // What is taken back was sent.
            let send = "refpoint message send FR --precedence flash --tlp amber --file answer.txt --yes";
            assert_eq!(program::run(&server, &words(send)).await.code, 0);
        }
        if line.contains(" send ") || line.contains(" withdraw ") {
            // A person agrees on the terminal; a test has none.
            arguments.push("--yes");
        }
        let run = program::run(&server, &arguments).await;
        assert_eq!(run.code, 0, "{line}: {run:?}");
    }
    assert!(count >= 9, "{count} commands were found on the card");
}

/// The arguments of a line, as a shell parts them: double quotes keep spaces.
fn words(line: &str) -> Vec<&str> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().collect(),
        _ => vec![part],
    });
    words.skip(1).collect()
}
