//! Bad fields of bodies: each field of each endpoint with each wrong value, its neighbours being of the right type.
//!
//! Which fields there are is taken from the description of the specification that `tests/schemathesis` has; for what
//! is not in it, from a table here. An endpoint without either fails the test.

use std::{collections::BTreeMap, fs, path::Path};

use api::Route;
use serde_json::{Map, Value, json};

use super::{each_route, ends_session, fill, has_body, send};
use crate::server::TestServer;

/// Fields of requests that the description of the specification does not have, by method and path; `{}` stands for a parameter.
const OWN: &[(&str, &str, OwnFields)] = &[
    (
        "POST",
        "/_synapse/admin/v1/register",
        &[
            ("nonce", "string"),
            ("username", "string"),
            ("password", "string"),
            ("admin", "boolean"),
            ("user_type", "string"),
            ("displayname", "string"),
            ("mac", "string"),
        ],
    ),
    (
        "POST",
        "/_matrix/client/v3/register",
        &[("guest_access_token", "string")],
    ),
    (
        "PUT",
        "/_matrix/client/v3/profile/{}/displayname",
        &[("displayname", "string")],
    ),
    (
        "PUT",
        "/_matrix/client/v3/profile/{}/avatar_url",
        &[("avatar_url", "string")],
    ),
    (
        "PUT",
        "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device",
        &[
            ("device_id", "string"),
            ("device_data", "object"),
            ("device_keys", "object"),
            ("one_time_keys", "object"),
            ("fallback_keys", "object"),
            ("initial_device_display_name", "string"),
        ],
    ),
    (
        "POST",
        "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{}/events",
        &[("next_batch", "string")],
    ),
    ("POST", "/_synapse/admin/v1/send_server_notice", NOTICE),
    ("PUT", "/_synapse/admin/v1/send_server_notice/{}", NOTICE),
];

/// Names and types.
type OwnFields = &'static [(&'static str, &'static str)];

const NOTICE: OwnFields = &[
    ("user_id", "string"),
    ("type", "string"),
    ("state_key", "string"),
    ("content", "object"),
];

/// Bodies that are any object, or that nothing is read of.
const ANY: &[&str] = &[
    "/_matrix/client/v3/rooms/{}/state/{}",
    "/_matrix/client/v3/rooms/{}/state/{}/",
    "/_matrix/client/v3/profile/{}/displayname",
    "/_matrix/client/v3/profile/{}/avatar_url",
    "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{}/{}",
    "/_matrix/client/unstable/org.matrix.msc3391/user/{}/account_data/{}",
    "/_matrix/client/unstable/org.matrix.msc3391/user/{}/rooms/{}/account_data/{}",
    "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device",
];

/// Values as JSON text: types, sizes, and numbers that no parser agrees on.
const VALUES: &[&str] = &[
    "5",
    "0",
    "-1",
    "1.5",
    "1e400",
    "9007199254740993",
    "99999999999999999999",
    "true",
    "null",
    "\"\"",
    "\"x\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "[]",
    "[5]",
    "[null]",
    "[[]]",
    "{}",
    "{\"\":{\"\":{\"\":{}}}}",
    "{\"x\":5}",
    "{\"@a:localhost\":5}",
    "{\"@a:localhost\":{\"*\":5}}",
    "{\"type\":5}",
    "{\"type\":\"m.login.password\"}",
];

/// The fields of a request body with a value of the right type.
type Fields = BTreeMap<String, Value>;

fn of_type(name: &str) -> Value {
    match name {
        "string" => json!("x"),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!([]),
        _ => json!({}),
    }
}

/// `/_matrix/client/r0/rooms/{room_id}/ban` as `/_matrix/client/v3/rooms/{}/ban`.
fn general(path: &str) -> String {
    let segments = path.split('/').map(|segment| match segment {
        "r0" => "v3",
        segment if segment.starts_with('{') => "{}",
        segment => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

fn properties(schema: &Value, to: &mut Fields) {
    for part in schema["allOf"].as_array().into_iter().flatten() {
        properties(part, to);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let right = of_type(property["type"].as_str().unwrap_or("object"));
        to.insert(name.clone(), right);
    }
}

/// The fields of every operation of the specification that takes JSON, by method and general path.
fn specified() -> BTreeMap<(String, String), Fields> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis/client-server.json");
    let document: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let mut all = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let mut fields = Fields::new();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            properties(schema, &mut fields);
            all.insert((method.to_uppercase(), general(path)), fields);
        }
    }
    all
}

fn fields_of(route: &Route, specified: &BTreeMap<(String, String), Fields>) -> Option<Fields> {
    let (method, path) = (route.method.as_str(), general(route.path));
    let of_table = OWN
        .iter()
        .find(|(own_method, own_path, _)| (*own_method, *own_path) == (method, path.as_str()));
    let own = of_table.map(|(_, _, fields)| *fields).unwrap_or_default();
    let own = own
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), of_type(kind)));
    let mut names = [Some(path.clone()), stable(&path, "v3"), stable(&path, "v1")].into_iter();
    let found = names.find_map(|path| specified.get(&(method.to_owned(), path?)).cloned());
    if found.is_none() && of_table.is_none() && !ANY.contains(&path.as_str()) {
        return None;
    }
    Some(found.into_iter().flatten().chain(own).collect())
}

/// `/_matrix/client/unstable/org.example/rooms/{}` or `/_matrix/client/unstable/rooms/{}` as
/// `/_matrix/client/v3/rooms/{}`.
fn stable(path: &str, version: &str) -> Option<String> {
    let (before, rest) = path.split_once("/unstable/")?;
    let rest = match rest.split_once('/') {
        Some((name, rest)) if name.contains('.') => rest,
        _ => rest,
    };
    Some(format!("{before}/{version}/{rest}"))
}

/// Each field with each wrong value, twice over with another value, and the body without it.
fn bodies(fields: &Fields) -> Vec<String> {
    let whole: Map<String, Value> = fields.clone().into_iter().collect();
    let mut bodies = vec![String::new(), "{}".to_owned(), json!(whole).to_string()];
    for field in fields.keys() {
        let mut others = whole.clone();
        others.remove(field);
        let others = json!(others).to_string();
        let rest = others.trim_start_matches('{');
        let separator = if rest == "}" { "" } else { "," };
        let name = json!(field);
        for value in VALUES {
            bodies.push(format!("{{{name}:{value}{separator}{rest}"));
        }
        bodies.push(format!("{{{name}:5,{name}:[]{separator}{rest}"));
        bodies.push(others);
    }
    bodies
}

#[tokio::test]
async fn c8_every_field_of_every_endpoint_with_wrong_values() {
    let specified = specified();
    let unknown: Vec<_> = super::routes()
        .filter(|route| has_body(route) && fields_of(route, &specified).is_none())
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert!(unknown.is_empty(), "no fields are known of {unknown:#?}");
    let server =
        TestServer::start_with(&["registration.mode=open", "registration.shared_secret=s"]).await;
    let names = std::sync::atomic::AtomicU32::new(0);
    each_route(async |route| {
        if !has_body(&route) {
            return;
        }
        let fields = fields_of(&route, &specified).unwrap();
        let number = names.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut user = server.register(&format!("user{number}")).await;
        let room_id = user.create_room(&json!({})).await;
        let path = fill(route.path, &user, &room_id);
        for (n, body) in bodies(&fields).into_iter().enumerate() {
            let what = format!("{} {path} with {body:.300}", route.method);
            let request = user.request(route.method.clone(), &path).body(body);
            let (_, errcode) = send(&what, request).await;
            // Some of these requests succeed and end the session.
            if errcode.is_empty() && ends_session(&path) {
                user = server.register(&format!("user{number}.{n}")).await;
            }
        }
    })
    .await;
}
