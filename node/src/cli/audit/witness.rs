//! `refpoint audit witness`: has other members' nodes cosign where this node's journal stands, now.

use crate::{
    api::views::witness::WitnessReply,
    cli::{
        failure::Failure,
        human,
        node::{Node, converse},
        output::{Output, table},
    },
};

/// Have other members' nodes cosign this node's journal now, as they do every hour by themselves.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let reply = converse(async { Ok(client.witness().await?) })?;
    if reply.cosigned.is_empty() {
        let why = reply.refused.first().map_or_else(
            || "no node of another member is connected".to_owned(),
            |first| format!("{}: {}", first.member, first.why),
        );
        let hint = "see `refpoint peers` and the node's log; it asks again by itself within ten minutes";
        return Err(Failure::error("the journal was not cosigned", why, hint));
    }
    output.result(text(&reply), &reply)
}

fn text(reply: &WitnessReply) -> String {
    let mut text = format!(
        "{} entries, root {}, cosigned by {} of other members' nodes\n\n",
        reply.entries,
        reply.root,
        reply.cosigned.len(),
    );
    let cosigned = reply.cosigned.iter().map(|it| (&it.member, it.node, "cosigned".to_owned()));
    let refused = reply.refused.iter().map(|it| (&it.member, it.node, it.why.clone()));
    let rows =
        cosigned.chain(refused).map(|(member, node, word)| [human::member(member), node.short(), word]);
    text.push_str(&table(["member", "node", "says"], rows));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use refpoint_protocol::ids::{NodeKey, TreeRoot};

    use super::*;
    use crate::api::views::witness::{CosignedBy, NotCosigned};

    #[test]
    fn the_table_says_who_cosigned_and_who_did_not_and_why() {
        let node = NodeKey::from_bytes([7; 32]);
        let at = || "2026-11-24T12:00:00Z".parse().unwrap();
        let reply = WitnessReply {
            began: at(),
            entries: 12,
            root: TreeRoot::from_bytes([1; 32]),
            made: at(),
            cosigned: vec![CosignedBy { member: "FR".parse().unwrap(), node }],
            refused: vec![NotCosigned {
                member: "BR".parse().unwrap(),
                node,
                why: "it did not answer".into(),
            }],
            lost: None,
        };
        let text = text(&reply);
        for part in ["12 entries", "cosigned by 1 of", "FR (France)", "BR (Brazil)", "it did not answer"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
