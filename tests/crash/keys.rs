//! One-time keys: whoever claims, and whenever the server dies, none is handed out twice.

use std::{
    collections::BTreeSet,
    io::{Error, Result},
    time::Duration,
};

use futures::future::{join_all, try_join_all};
use hearth_tests::{
    http::{Client, text},
    server::Server,
};
use serde_json::{Map, Value, json};

/// Who claims at the same moment.
const CLAIMERS: usize = 200;
/// Keys of one upload, and uploads of one round.
const KEYS: usize = 150;
const UPLOADS: usize = 3;

const CURVE: &str = "signed_curve25519";

struct User {
    user_id: String,
    device_id: String,
    token: String,
}

/// Claims while the server is killed and started again, some rounds.
pub async fn claims(mut server: Server, rounds: u64) -> Result<()> {
    let owner = register(&server.host, "owner").await?;
    let claimer = register(&server.host, "claimer").await?;
    let (mut uploaded, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..rounds {
        let mut last = Value::Null;
        for upload in 0..UPLOADS {
            let names = (0..KEYS).map(|n| format!("{CURVE}:{round}.{upload}.{n:03}"));
            let key = |name: &String| (name.clone(), json!({ "key": name, "signatures": {} }));
            let names: Vec<_> = names.collect();
            last = Value::Object(names.iter().map(key).collect::<Map<_, _>>());
            upload_keys(&server.host, &owner, &last).await?;
            uploaded.extend(names);
        }
        let claiming = (0..CLAIMERS).map(|_| {
            let claims = claim_until_the_end(server.host.clone(), &owner, claimer.token.clone());
            tokio::spawn(claims)
        });
        let claiming: Vec<_> = claiming.collect();
        tokio::time::sleep(Duration::from_millis(30 + round * 37 % 90)).await;
        server.crash()?;
        let before = seen.len();
        for claimed in try_join_all(claiming).await? {
            note(&mut seen, &uploaded, claimed)?;
        }
        server.begin().await?;
        println!(
            "{} keys were handed out before the server died",
            seen.len() - before
        );
        // A client that got no answer to its upload repeats it.
        upload_keys(&server.host, &owner, &last).await?;
        let rest = (0..CLAIMERS)
            .map(|_| claim_until_the_end(server.host.clone(), &owner, claimer.token.clone()));
        for claimed in join_all(rest).await {
            note(&mut seen, &uploaded, claimed)?;
        }
    }
    // What was taken and never arrived is lost: at most one key of each claimer in each round.
    let lost = uploaded.len() - seen.len();
    if lost as u64 > rounds * CLAIMERS as u64 {
        return Err(Error::other(format!("{lost} keys are lost")));
    }
    Ok(())
}

fn note(
    seen: &mut BTreeSet<String>,
    uploaded: &BTreeSet<String>,
    claimed: Vec<String>,
) -> Result<()> {
    for name in claimed {
        if !uploaded.contains(&name) {
            return Err(Error::other(format!("{name} was never uploaded")));
        }
        if !seen.insert(name.clone()) {
            return Err(Error::other(format!("{name} was handed out twice")));
        }
    }
    Ok(())
}

/// Claims until there are no keys or there is no server; the names of what came.
fn claim_until_the_end(
    host: String,
    owner: &User,
    token: String,
) -> impl Future<Output = Vec<String>> + Send + use<> {
    let wanted = json!({ "one_time_keys": { &owner.user_id: { &owner.device_id: CURVE } } });
    let keys = format!("/one_time_keys/{}/{}", owner.user_id, owner.device_id);
    async move {
        let mut names = Vec::new();
        let Ok(mut client) = Client::connect(&host, Some(token)).await else {
            return names;
        };
        let (path, wanted) = ("/_matrix/client/v3/keys/claim", wanted.to_string());
        while let Ok(answer) = client.call("POST", path, Some(&wanted)).await {
            let answer = answer.json().unwrap_or_default();
            let claimed = answer.pointer(&keys).and_then(Value::as_object);
            let Some(claimed) = claimed else { break };
            names.extend(claimed.keys().cloned());
        }
        names
    }
}

async fn upload_keys(host: &str, user: &User, one_time_keys: &Value) -> Result<Value> {
    let mut client = Client::connect(host, Some(user.token.clone())).await?;
    let body = json!({ "one_time_keys": one_time_keys }).to_string();
    let path = "/_matrix/client/v3/keys/upload";
    client.call("POST", path, Some(&body)).await?.json()
}

async fn register(host: &str, name: &str) -> Result<User> {
    let answer = Client::connect(host, None).await?.register(name).await?;
    Ok(User {
        user_id: text(&answer, "user_id")?,
        device_id: text(&answer, "device_id")?,
        token: text(&answer, "access_token")?,
    })
}
