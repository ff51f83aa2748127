//! To-device messages to clients that wait for them.

use std::{
    io::{Error, Result},
    time::Duration,
};

use serde_json::{Map, json};

use hearth_tests::http::{Client, text};

use crate::{
    scenario::{Latencies, User, now_ns, receive, sync},
    server::Server,
};

/// 50 requests in a second, each with a message for every one of the receivers, who wait in `/sync`. The share of a
/// delivery in sending, waking, and removing what the next token shows to be there.
pub async fn to_device(server: &Server, users: &[User]) -> Result<()> {
    let (sender, receivers) = users
        .split_first()
        .ok_or_else(|| Error::other("no users"))?;
    let total = 50 * 6;
    let (mut waiting, mut user_ids) = (Vec::new(), Vec::new());
    for receiver in receivers {
        let mut client = Client::connect(&server.host, Some(receiver.token.clone())).await?;
        let path = "/_matrix/client/v3/account/whoami";
        let whoami = client.call("GET", path, None).await?.json()?;
        user_ids.push(text(&whoami, "user_id")?);
        let since = text(&sync(&mut client, None).await?, "next_batch")?;
        waiting.push(tokio::spawn(receive(client, since, total, |answer| {
            answer.pointer("/to_device/events")?.as_array()
        })));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let cpu = server.cpu();
    let mut client = Client::connect(&server.host, Some(sender.token.clone())).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for number in 0..total {
        ticks.tick().await;
        let now = now_ns();
        let path = format!("/_matrix/client/v3/sendToDevice/m.bench/{number}-{now}");
        let content = json!({ "*": { "body": now.to_string(), "key": "k".repeat(500) } });
        let to = user_ids.iter().map(|id| (id.clone(), content.clone()));
        let body = json!({ "messages": to.collect::<Map<_, _>>() }).to_string();
        client.call("PUT", &path, Some(&body)).await?.json()?;
    }
    let latencies = Latencies::of(waiting).await?;
    println!(
        "to-device messages to {} waiting syncs at 50/s: p50 {:.2} ms, p99 {:.2} ms, {:.3} ms CPU per delivery with its \
         share of the sends ({} deliveries)",
        receivers.len(),
        latencies.at_ms(0.5),
        latencies.at_ms(0.99),
        (server.cpu() - cpu).as_secs_f64() * 1000.0 / latencies.count() as f64,
        latencies.count(),
    );
    Ok(())
}
