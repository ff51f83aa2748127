//! Devices of people and what is kept for them: keys, one-time keys, messages to devices. Who changes them, and what was
//! acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Result,
};

use serde_json::{Map, Value, json};

use crate::{
    hand::Hand,
    ledger::{PASSWORD, Person, Span, fault},
    session::text,
};

/// The only algorithm of one-time keys.
pub const CURVE: &str = "signed_curve25519";

/// So many devices a person has besides the first.
const FURTHER: usize = 3;

/// What was acknowledged of everybody's devices.
#[derive(Default)]
pub struct DeviceBook {
    /// The identity keys of devices, by user and device.
    pub keys: HashMap<String, BTreeMap<String, Value>>,
    /// The devices of a user that came after the first, with their access tokens.
    further: HashMap<String, Vec<(String, String)>>,
    /// Of the first device of a user.
    pub one_time: HashMap<String, OneTimeKeys>,
    /// The messages to the first device of a user, and when they were sent.
    pub messages: HashMap<String, HashMap<u64, Span>>,
    /// So many names were given.
    names: u64,
}

/// The one-time keys of a device, by their names.
#[derive(Clone, Default)]
pub struct OneTimeKeys {
    device_id: String,
    uploaded: BTreeSet<String>,
    /// Those that came with the identity keys of now.
    current: BTreeSet<String>,
    claimed: BTreeSet<String>,
    /// So many answers to claims were lost, perhaps with a key each.
    pub lost: u64,
    /// The newest fallback key.
    fallback: String,
    /// Fallback keys that somebody got.
    used_fallback: BTreeSet<String>,
}

impl OneTimeKeys {
    /// How many are left if no answer was lost.
    pub fn left(&self) -> u64 {
        self.current.difference(&self.claimed).count() as u64
    }

    /// Whether there is a fallback key that nobody has used, if no answer was lost.
    pub fn has_fallback(&self) -> bool {
        !self.fallback.is_empty() && !self.used_fallback.contains(&self.fallback)
    }
}

impl DeviceBook {
    /// How many devices have keys, how many one-time keys were claimed, and how many messages sent.
    pub fn tally(&self) -> (usize, usize, usize) {
        let claimed = self.one_time.values().map(|own| own.claimed.len());
        (
            self.keys.values().map(BTreeMap::len).sum(),
            claimed.sum(),
            self.messages.values().map(HashMap::len).sum(),
        )
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }
}

/// Identity keys that no other device has.
fn identity(user_id: &str, device_id: &str, name: u64) -> Value {
    json!({
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            // 32 bytes in Base64.
            format!("curve25519:{device_id}"): format!("{name:0>42}A"),
            format!("ed25519:{device_id}"): format!("{name:0>42}E"),
        },
        "signatures": {},
    })
}

impl Hand<'_> {
    /// A person's devices change: one comes or goes, or one has other keys than before. Only one acts for a person.
    pub async fn change_devices(&mut self, person: &Person) -> Result<()> {
        let user_id = &person.user_id;
        let further = self.ledger.book().devices.further.get(user_id).cloned();
        let further = further.unwrap_or_default();
        let another = self.dice.pick(&further).cloned();
        match (self.dice.below(3), another) {
            (0, _) if further.len() < FURTHER => self.add_device(person).await,
            (1, Some((device_id, token))) => {
                self.remove_device(user_id, (&device_id, &token)).await
            }
            (2, Some((device_id, token))) => {
                self.upload_identity(user_id, (&device_id, &token)).await
            }
            _ => {
                let first = (&*person.device_id, &*person.token);
                self.upload_identity(user_id, first).await
            }
        }
    }

    /// Keys of a device that other people's clients must hear of.
    pub async fn upload_identity(&mut self, user_id: &str, device: (&str, &str)) -> Result<()> {
        let (device_id, token) = device;
        let name = self.ledger.book().devices.name();
        let keys = identity(user_id, device_id, name);
        let body = json!({ "device_keys": keys });
        self.must(token, ("POST", "/keys/upload"), &body).await?;
        let mut book = self.ledger.book();
        let devices = book.devices.keys.entry(user_id.to_owned()).or_default();
        devices.insert(device_id.to_owned(), keys["keys"].clone());
        // One-time keys are signed by the identity, and go with it.
        let first = book.devices.one_time.get_mut(user_id);
        if let Some(own) = first.filter(|own| own.device_id == device_id) {
            own.current.clear();
            own.fallback.clear();
        }
        Ok(())
    }

    async fn add_device(&mut self, person: &Person) -> Result<()> {
        let device_id = format!("D{}", self.ledger.book().devices.name());
        let user_id = &person.user_id;
        let login = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": user_id },
            "password": PASSWORD,
            "device_id": device_id,
        });
        let answer = self.must("", ("POST", "/login"), &login).await?;
        let token = text(&answer.body, "access_token")?;
        self.upload_identity(user_id, (&device_id, &token)).await?;
        let mut book = self.ledger.book();
        let further = book.devices.further.entry(user_id.clone()).or_default();
        further.push((device_id, token));
        Ok(())
    }

    async fn remove_device(&mut self, user_id: &str, device: (&str, &str)) -> Result<()> {
        let (device_id, token) = device;
        let call = ("POST", "/logout");
        let answer = self.session.call(token, call, Some(&json!({}))).await?;
        // Where the first answer was lost, the token is gone.
        if answer.status != 200 && (answer.status != 401 || answer.tries == 1) {
            return fault(format!("{call:?}: {} {}", answer.status, answer.body));
        }
        let mut book = self.ledger.book();
        if let Some(devices) = book.devices.keys.get_mut(user_id) {
            devices.remove(device_id);
        }
        if let Some(further) = book.devices.further.get_mut(user_id) {
            further.retain(|(further, _)| further != device_id);
        }
        Ok(())
    }

    /// One-time keys for a person's first device, and another fallback key if there is none that nobody has used.
    pub async fn upload_one_time_keys(&mut self, person: &Person, fallback: bool) -> Result<()> {
        let count = 1 + self.dice.below(8);
        let (mut keys, mut fallback_keys) = (Map::new(), Map::new());
        {
            let mut book = self.ledger.book();
            let names: Vec<_> = (0..=count).map(|_| book.devices.name()).collect();
            let own = book.devices.one_time.entry(person.user_id.clone());
            let own = own.or_default();
            own.device_id.clone_from(&person.device_id);
            for name in names.iter().skip(1) {
                let key = json!({ "key": name.to_string(), "signatures": {} });
                keys.insert(format!("{CURVE}:{name}"), key);
                // Somebody may have it before the answer is here.
                own.uploaded.insert(format!("{CURVE}:{name}"));
                own.current.insert(format!("{CURVE}:{name}"));
            }
            if let Some(name) = names.first().filter(|_| fallback) {
                own.fallback = format!("{CURVE}:{name}");
                let key = json!({ "key": name.to_string(), "fallback": true, "signatures": {} });
                fallback_keys.insert(own.fallback.clone(), key);
            }
        }
        let body = json!({ "one_time_keys": keys, "fallback_keys": fallback_keys });
        let call = ("POST", "/keys/upload");
        self.must(&person.token, call, &body).await?;
        Ok(())
    }

    /// Claims a key of somebody's first device.
    pub async fn claim_key(&mut self, by: &Person, of: &Person) -> Result<()> {
        let (user_id, device_id) = (&of.user_id, &of.device_id);
        let body = json!({ "one_time_keys": { user_id: { device_id: CURVE } } });
        let call = ("POST", "/keys/claim");
        let answer = self.must(&by.token, call, &body).await?;
        let mut book = self.ledger.book();
        let own = book.devices.one_time.entry(user_id.clone()).or_default();
        own.lost += answer.tries - 1;
        let keys = &answer.body["one_time_keys"][user_id][device_id];
        for (name, key) in keys.as_object().into_iter().flatten() {
            if key["fallback"] == true {
                own.used_fallback.insert(name.clone());
            } else if !own.uploaded.contains(name) || !own.claimed.insert(name.clone()) {
                return fault(format!(
                    "{name} of {user_id} was claimed twice, or was never there"
                ));
            }
        }
        Ok(())
    }

    /// Sends a message to one to three of the readers, to their first devices or to all.
    pub async fn send_to_device(&mut self, by: &Person) -> Result<()> {
        let name = self.ledger.book().devices.name();
        let mut messages = Map::new();
        for _ in 0..=self.dice.below(3) {
            let Some(to) = self.dice.pick(self.ledger.readers()) else {
                return fault("no readers");
            };
            let device = match self.dice.chance(50) {
                true => "*",
                false => &to.device_id,
            };
            messages.insert(to.user_id.clone(), json!({ device: { "n": name } }));
        }
        let begun = self.ledger.now();
        let path = format!("/sendToDevice/org.hearth.soak/{name}");
        let body = json!({ "messages": messages });
        self.must(&by.token, ("PUT", &path), &body).await?;
        let span = self.ledger.since(begun);
        let mut book = self.ledger.book();
        for (user_id, _) in messages {
            let of_user = book.devices.messages.entry(user_id).or_default();
            of_user.insert(name, span);
        }
        Ok(())
    }
}
