//! `refpoint audit witnessed`: what this node holds as a witness of others' journals, the proofs against them among it.

use crate::{
    api::views::witnessed::{RefutedCheckpoint, WitnessedNode, WitnessedReply},
    cli::{
        failure::Failure,
        human,
        node::{Node, converse},
        output::{Output, table},
    },
};

/// Show what this node cosigned of other nodes' journals, and the two signed notes of each that contradicted itself.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let reply = converse(async { Ok(client.witnessed().await?) })?;
    output.result(text(&reply), &reply)
}

fn text(reply: &WitnessedReply) -> String {
    let member = |node: &WitnessedNode| node.member().as_ref().map(human::member).unwrap_or_default();
    let rows = reply.nodes.iter().map(|node| {
        let (entries, made) = match &node.newest {
            Some(newest) => (newest.entries.to_string(), human::instant(newest.made)),
            None => ("none".to_owned(), String::new()),
        };
        let doubts = match node.refuted.len() {
            0 => String::new(),
            count => human::count(count as u64, "CONTRADICTION"),
        };
        [member(node), node.node.short(), entries, made, doubts]
    });
    let mut text = table(["member", "node", "entries cosigned", "signed by it", ""], rows);
    if reply.nodes.is_empty() {
        text = "this node has cosigned no other node's journal yet\n".to_owned();
    }
    if reply.damaged > 0 {
        text.push_str(&format!("\n{} cannot be read any more\n", human::count(reply.damaged, "row")));
    }
    for node in &reply.nodes {
        for RefutedCheckpoint { doubt, at, held, refused } in &node.refuted {
            text.push_str(&format!(
                "\nthe journal of {}'s node {} has {doubt}: rolled back or rewritten; refused {}\n\nthis node held\n\n{}\n\n\
                 and refused\n\n{}\n",
                member(node),
                node.node.short(),
                human::instant(*at),
                held.trim_end(),
                refused.trim_end(),
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use refpoint_protocol::{audit::witness::Doubt, ids::NodeKey};

    use super::*;
    use crate::api::views::witnessed::WitnessedState;

    #[test]
    fn both_signed_notes_are_shown_of_whoever_contradicted_himself() {
        let at = || "2026-11-24T12:00:00Z".parse().unwrap();
        let newest = WitnessedState {
            member: "KE".parse().unwrap(),
            began: at(),
            entries: 12,
            made: at(),
            note: "the note".to_owned(),
        };
        let refuted = RefutedCheckpoint {
            doubt: Doubt::Rewound,
            at: at(),
            held: "one signed note\n".to_owned(),
            refused: "another signed note\n".to_owned(),
        };
        let node = NodeKey::from_bytes([7; 32]);
        let node = WitnessedNode { node, newest: Some(newest), ended: Vec::new(), refuted: vec![refuted] };
        let text = text(&WitnessedReply { nodes: vec![node], damaged: 1 });
        for part in [
            "KE (Kenya)",
            "12",
            "1 CONTRADICTION",
            "fewer entries",
            "one signed note",
            "another signed",
            "1 row",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let none = super::text(&WitnessedReply { nodes: Vec::new(), damaged: 0 });
        assert!(none.contains("no other node's journal"), "{none}");
    }
}
