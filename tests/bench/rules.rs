//! A send into a room of 2,000 local members, half of whom have push rules of their own, beside one into a room of two.
//! Of the messages, 5 % match keywords: each time those of other members, who are 25 in the first measurement and 50 in
//! the second.

use std::{
    io::{Error, Result},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use serde_json::{Value, json};

use hearth_tests::http::{Client, encode};

use crate::{
    scenario::{User, create_room, now_ns, register},
    server::Server,
};

const MEMBERS: usize = 2_000;

/// Members with rules of their own who share their keywords.
const GROUP: usize = 25;

/// So many of these groups a message matches that does, in each measurement.
const MATCHING: [usize; 2] = [1, 2];

/// Messages of one measurement.
const MESSAGES: usize = 1_000;

/// The rules, then the sends, in turns so that noise meets both.
pub async fn rules(server: &Server) -> Result<()> {
    let users = register(server, MEMBERS).await?;
    let [first, second, ..] = users.as_slice() else {
        return Err(Error::other("too few users"));
    };
    let small = create_room(server, first, std::slice::from_ref(second)).await?;
    let begin = Instant::now();
    let large = create_room(server, first, users.get(1..).unwrap_or_default()).await?;
    println!("{MEMBERS} joins: {:.1} s", begin.elapsed().as_secs_f64());
    let readers: Vec<_> = users.iter().skip(2).step_by(2).enumerate().collect();
    try_join_all(
        readers
            .chunks(readers.len() / 8 + 1)
            .map(|readers| async move {
                for (number, user) in readers {
                    set_rules(server, user, number / GROUP).await?;
                }
                Ok::<_, Error>(())
            }),
    )
    .await?;
    for groups in MATCHING {
        let (mut small_ms, mut large_ms) = (Vec::new(), Vec::new());
        for round in 0..4 {
            for (room, figures) in [(&small, &mut small_ms), (&large, &mut large_ms)] {
                let cpu = send(server, first, room, (round, groups)).await?;
                // The first reads what the others find in memory.
                if round > 0 {
                    figures.push(cpu.as_secs_f64() * 1000.0 / MESSAGES as f64);
                }
            }
        }
        let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
        println!(
            "a send into a room of 2: {:.3} ms CPU, of {MEMBERS} with {} who have rules, of whom one in twenty messages \
             matches those of {}: {:.3} ms CPU, ratio {:.2}",
            mean(&small_ms),
            readers.len(),
            groups * GROUP,
            mean(&large_ms),
            mean(&large_ms) / mean(&small_ms)
        );
    }
    Ok(())
}

/// Three keywords, one muted room, one sender rule.
async fn set_rules(server: &Server, user: &User, group: usize) -> Result<()> {
    let mut client = Client::connect(&server.host, Some(user.token.clone())).await?;
    let highlight = json!(["notify", { "set_tweak": "highlight" }]);
    let mut put = async |path: String, rule: Value| {
        let path = format!("/_matrix/client/v3/pushrules/global/{path}");
        let answer = client.call("PUT", &path, Some(&rule.to_string())).await?;
        answer.json()
    };
    for number in 0..3 {
        let word = format!("word{group}x{number}");
        let rule = json!({ "pattern": word, "actions": highlight });
        put(format!("content/{word}"), rule).await?;
    }
    let muted = json!({ "actions": [], "conditions": [
        { "kind": "event_match", "key": "room_id", "pattern": format!("!muted{group}:example.org") }] });
    put(format!("override/muted{group}"), muted).await?;
    let sender = format!("sender/%40somebody{group}%3Aexample.org");
    put(sender, json!({ "actions": ["notify"] })).await?;
    Ok(())
}

/// Sends, one after the other. The CPU that the server took.
async fn send(
    server: &Server,
    user: &User,
    room: &str,
    (round, groups): (usize, usize),
) -> Result<Duration> {
    let mut client = Client::connect(&server.host, Some(user.token.clone())).await?;
    let cpu = server.cpu();
    for number in 0..MESSAGES {
        let group = |after: usize| (number / 20 + after) % (MEMBERS / 2 / GROUP);
        let words = (0..groups).map(|after| format!("word{}x{}", group(after), round % 3));
        let body = match number % 20 {
            0 => format!(
                "It burns, {}, in the kitchen.",
                words.collect::<Vec<_>>().join(" ")
            ),
            _ => "It burns in the kitchen, and nobody has seen it.".to_owned(),
        };
        let path = format!(
            "/_matrix/client/v3/rooms/{}/send/m.room.message/r{number}-{}",
            encode(room),
            now_ns()
        );
        let content = json!({ "msgtype": "m.text", "body": body }).to_string();
        client.call("PUT", &path, Some(&content)).await?.json()?;
    }
    Ok(server.cpu() - cpu)
}
