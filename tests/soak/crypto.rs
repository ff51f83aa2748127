//! What a client keeps for encryption: whose devices it tracks, with their keys; messages to its device; how many
//! one-time keys are left. And whether it is right.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io::Result,
};

use serde_json::{Map, Value, json};

use crate::{
    devices::CURVE,
    history::History,
    ledger::{Ledger, Span, fault},
    reader::Reader,
    session::{Session, events},
};

/// The keys of devices by their ids.
type Devices = BTreeMap<String, Value>;

/// What the client knows.
#[derive(Default)]
pub struct Crypto {
    /// The users whom it tracks, as they were when they were last asked for.
    tracked: BTreeMap<String, Devices>,
    /// Those of them whom the server knows to be tracked: the others were found while members came and went.
    certain: BTreeSet<String>,
    /// Messages to the device, as they came.
    inbox: Vec<u64>,
    /// `device_one_time_keys_count` of the last answer.
    pub one_time_keys: u64,
    /// Whether the last answer told of a fallback key that nobody has used.
    pub has_fallback: bool,
}

impl Crypto {
    /// Takes in an answer of `/sync`. Returns whom to ask for.
    pub fn take(&mut self, answer: &Value) -> Result<Vec<String>> {
        for message in events(answer, "/to_device/events") {
            match message["content"]["n"].as_u64() {
                Some(number) => self.inbox.push(number),
                None => return fault(format!("a message to the device was made up: {message}")),
            }
        }
        // "If an algorithm is not listed, the count for that algorithm is to be assumed zero."
        let count = &answer["device_one_time_keys_count"][CURVE];
        self.one_time_keys = count.as_u64().unwrap_or_default();
        let unused = events(answer, "/device_unused_fallback_key_types");
        self.has_fallback = unused.iter().any(|unused| unused == CURVE);
        let users = |path| events(answer, path).iter().filter_map(Value::as_str);
        let changed: Vec<_> = users("/device_lists/changed").map(str::to_owned).collect();
        for left in users("/device_lists/left") {
            if changed.iter().any(|changed| changed == left) {
                return fault(format!("{left} has changed and left"));
            }
            self.tracked.remove(left);
            self.certain.remove(left);
        }
        self.certain.extend(changed.iter().cloned());
        Ok(changed)
    }

    /// Whether an answer has something that another may follow.
    pub fn is_in(answer: &Value) -> bool {
        [
            "/to_device/events",
            "/device_lists/changed",
            "/device_lists/left",
        ]
        .iter()
        .any(|path| !events(answer, path).is_empty())
    }

    /// The users of a first answer's encrypted rooms are tracked from now on.
    pub fn begin(&mut self, users: &BTreeSet<String>, certain: bool) {
        if certain {
            self.certain.extend(users.iter().cloned());
        }
    }

    /// Asks for the devices of users.
    pub async fn ask(
        &mut self,
        session: &mut Session,
        token: &str,
        users: impl IntoIterator<Item = String>,
    ) -> Result<()> {
        let wanted: Map<_, _> = users
            .into_iter()
            .map(|user_id| (user_id, json!([])))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let body = json!({ "device_keys": wanted });
        let answer = session.call(token, ("POST", "/keys/query"), Some(&body));
        let answer = answer.await?.ok()?;
        for (user_id, _) in wanted {
            let devices = answer["device_keys"][&user_id].as_object();
            let keys = |(id, device): (&String, &Value)| (id.clone(), device["keys"].clone());
            let devices = devices.into_iter().flatten().map(keys).collect();
            self.tracked.insert(user_id, devices);
        }
        Ok(())
    }

    fn judge_inbox(&self, sent: &HashMap<u64, Span>) -> Result<()> {
        let seen: HashSet<_> = self.inbox.iter().collect();
        if seen.len() != self.inbox.len() {
            return fault(format!(
                "messages came to the device twice: {:?}",
                self.inbox
            ));
        }
        if let Some(lost) = sent.keys().find(|number| !seen.contains(number)) {
            return fault(format!("message {lost} never came to the device"));
        }
        // What was answered before another was begun comes before it.
        let mut begun = 0;
        for number in &self.inbox {
            let Some(span) = sent.get(number) else {
                return fault(format!("message {number} was not for this device"));
            };
            if span.ended < begun {
                return fault(format!("message {number} came late: {:?}", self.inbox));
            }
            begun = begun.max(span.begun);
        }
        Ok(())
    }

    /// "List of users who have updated their device identity or cross-signing keys, or who now share an encrypted room
    /// with the client since the previous sync response"; "with whom we do not share any encrypted rooms anymore".
    fn judge_devices(
        &self,
        ledger: &Ledger,
        user_id: &str,
        histories: &BTreeMap<String, History>,
    ) -> Result<()> {
        let (mut sharing, mut encrypted) = (BTreeSet::new(), BTreeSet::from([user_id]));
        for history in histories.values() {
            if history.membership_now(user_id) != "join" {
                continue;
            }
            let members: Vec<_> = history.joined_now().collect();
            if history.is_encrypted() {
                encrypted.extend(&members);
            }
            sharing.extend(members);
        }
        let book = ledger.book();
        let nothing = Devices::new();
        for other in encrypted {
            let devices = book.devices.keys.get(other).unwrap_or(&nothing);
            match self.tracked.get(other) {
                Some(known) if known == devices => {}
                Some(known) => {
                    return fault(format!("{other} has {devices:?}, and it knows {known:?}"));
                }
                None => {
                    return fault(format!(
                        "it does not know that it shares a room with {other}"
                    ));
                }
            }
        }
        // NOTSPEC: as the server has it, who shares any room has not left.
        let stale = self.certain.iter().find(|other| {
            self.tracked.contains_key(*other)
                && !sharing.contains(other.as_str())
                && *other != user_id
        });
        match stale {
            Some(other) => fault(format!("it was not told that {other} has left")),
            None => Ok(()),
        }
    }
}

/// Judges what a reader keeps who has caught up.
pub async fn judge(
    ledger: &Ledger,
    reader: &Reader,
    histories: &BTreeMap<String, History>,
) -> Result<()> {
    let (crypto, person) = (&reader.crypto, &reader.person);
    let user_id = person.user_id.as_str();
    crypto.judge_devices(ledger, user_id, histories)?;
    let sent = ledger.book().devices.messages.get(user_id).cloned();
    // Another look at what a device has read shows nothing of it.
    let sent = sent.filter(|_| !reader.is_fresh).unwrap_or_default();
    crypto.judge_inbox(&sent)?;
    let mut session = Session::new(&ledger.host);
    let call = ("POST", "/keys/upload");
    let answer = session.call(&person.token, call, Some(&json!({}))).await?;
    let held = answer.ok()?["one_time_key_counts"][CURVE].as_u64();
    let held = held.unwrap_or_default();
    let book = ledger.book();
    let own = book.devices.one_time.get(user_id).cloned();
    let own = own.unwrap_or_default();
    let most = own.left();
    if crypto.one_time_keys != held || held > most || held + own.lost < most {
        let (told, lost) = (crypto.one_time_keys, own.lost);
        return fault(format!(
            "told of {told} one-time keys, {held} are there, {most} should be without {lost} lost"
        ));
    }
    if crypto.has_fallback != own.has_fallback() && own.lost == 0 {
        return fault(format!(
            "told of an unused fallback key: {}",
            crypto.has_fallback
        ));
    }
    Ok(())
}
