//! A small house for this crate's tests: an [`Auth`] on a store in a temporary directory.

use config::RegistrationMode;
use limit::Limits;
use ruma_common::server_name;
use serde_json::{Value, json};
use storage::{Clock, Store};
use tempfile::TempDir;

use crate::{
    Auth, Entropy, Identifier, LoginRequest, NewDevice, Options, PasswordCost, RegisterError,
    RegistrationRequest, Session, UiaError, UiaRequest,
};

pub(crate) struct House {
    _dir: TempDir,
    pub store: Store,
    pub clock: Clock,
    pub auth: Auth,
}

impl House {
    pub(crate) fn new(mode: RegistrationMode) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = storage::Options::new(dir.path()).cache_bytes(8 << 20);
        let store = Store::open(&options).unwrap();
        let clock = Clock::manual(1_000_000);
        let auth = auth(&store, &clock, of_mode(mode), &Limits::none());
        Self {
            _dir: dir,
            store,
            clock,
            auth,
        }
    }

    /// One with the shared secret "hunter2" for operators' tools.
    pub(crate) fn with_shared_secret() -> Self {
        let mut house = Self::new(RegistrationMode::Closed);
        let registration = config::Registration {
            shared_secret: Some("hunter2".to_owned().try_into().unwrap()),
            ..config::Registration::default()
        };
        house.auth = auth(&house.store, &house.clock, registration, &Limits::none());
        house
    }

    /// One where everybody may register, as often as the limits allow.
    pub(crate) fn with_limits(config: &config::RateLimits) -> Self {
        let mut house = Self::new(RegistrationMode::Open);
        let limits = Limits::new(config, house.clock.clone());
        let open = of_mode(RegistrationMode::Open);
        house.auth = auth(&house.store, &house.clock, open, &limits);
        house
    }

    /// One where guests may come, and everybody may register.
    pub(crate) fn with_guests() -> Self {
        let mut house = Self::new(RegistrationMode::Open);
        let registration = config::Registration {
            guests: true,
            ..of_mode(RegistrationMode::Open)
        };
        house.auth = auth(&house.store, &house.clock, registration, &Limits::none());
        house
    }

    /// The same store after a restart.
    pub(crate) fn restarted(&self, mode: RegistrationMode) -> Auth {
        auth(&self.store, &self.clock, of_mode(mode), &Limits::none())
    }

    /// A registered user with the password "secret".
    pub(crate) async fn user(&self, name: &str) -> Session {
        let uia = json!({ "auth": { "type": "m.login.dummy" } });
        let registered = register(&self.auth, name, uia).await.unwrap();
        registered.session.unwrap()
    }
}

fn of_mode(mode: RegistrationMode) -> config::Registration {
    config::Registration {
        mode,
        ..config::Registration::default()
    }
}

fn auth(store: &Store, clock: &Clock, registration: config::Registration, limits: &Limits) -> Auth {
    let options = Options {
        server_name: server_name!("example.org").to_owned(),
        registration,
        turn: config::Turn::default(),
        password_cost: PasswordCost {
            memory_kib: 8,
            passes: 1,
            threads: 4,
        },
        limits: limits.clone(),
    };
    Auth::new(store.clone(), clock.clone(), Entropy::system(), options).unwrap()
}

/// The interactive authentication of a request with this body.
pub(crate) fn uia(path: &str, body: &Value) -> UiaRequest {
    UiaRequest::new("POST", path, body.to_string().as_bytes()).unwrap()
}

pub(crate) async fn register(
    auth: &Auth,
    name: &str,
    body: Value,
) -> Result<crate::Registered, RegisterError> {
    let request = RegistrationRequest {
        username: Some(name.to_owned()),
        password: Some("secret".to_owned()),
        ..RegistrationRequest::default()
    };
    auth.register(request, &uia("/register", &body)).await
}

pub(crate) fn login(user: &str, password: &str, device_id: Option<&str>) -> LoginRequest {
    LoginRequest {
        identifier: Identifier::User(user.to_owned()),
        password: password.to_owned(),
        device: NewDevice {
            device_id: device_id.map(Into::into),
            initial_device_display_name: Some("A device".to_owned()),
            refresh_token: false,
        },
        address: None,
    }
}

/// The body of the 401 answer that an error stands for.
pub(crate) fn challenge(error: &UiaError) -> Value {
    match error {
        UiaError::Challenge(challenge) => serde_json::to_value(challenge).unwrap(),
        error => panic!("not a challenge: {error}"),
    }
}
