//! A push gateway of a test's own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use serde_json::{Value, json};

use crate::server::until;

/// What the gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// All is well.
    Accept,
    /// The pushkey is not known.
    Reject,
    /// It is out of order.
    Fail,
    /// It takes a minute.
    Wait,
}

/// A gateway that notes what it is told.
pub struct Gateway {
    /// Where it is asked.
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    told: Mutex<Vec<Value>>,
}

impl Gateway {
    /// One that accepts everything.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour::Accept),
            told: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/_matrix/push/v1/notify",
            listener.local_addr().unwrap()
        );
        let router = Router::new()
            .route("/_matrix/push/v1/notify", post(notify))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// Answers like this from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// What it was told, once it was told so often.
    pub async fn told(&self, times: usize) -> Vec<Value> {
        let enough = async || {
            let told = self.shared.told.lock().unwrap().clone();
            (told.len() >= times).then_some(told)
        };
        until(&format!("{times} notifications"), enough).await
    }

    /// Forgets what it was told so far.
    pub fn forget(&self) -> Vec<Value> {
        std::mem::take(&mut self.shared.told.lock().unwrap())
    }
}

async fn notify(
    State(shared): State<Arc<Shared>>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let pushkey = body["notification"]["devices"][0]["pushkey"].clone();
    shared.told.lock().unwrap().push(body);
    let behaviour = *shared.behaviour.lock().unwrap();
    match behaviour {
        Behaviour::Accept => (StatusCode::OK, Json(json!({ "rejected": [] }))),
        Behaviour::Reject => (StatusCode::OK, Json(json!({ "rejected": [pushkey] }))),
        Behaviour::Fail => (StatusCode::BAD_GATEWAY, Json(json!({}))),
        Behaviour::Wait => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            (StatusCode::OK, Json(json!({})))
        }
    }
}
