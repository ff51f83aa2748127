//! A started server of a test's own, and the requests made to it.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(30);

/// How long a test waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `look` finds, as soon as it finds something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A running server; killed when dropped.
pub struct TestServer {
    child: Child,
    directory: TempDir,
    sets: Vec<String>,
    /// `http://127.0.0.1:PORT`
    pub base: String,
    http: reqwest::Client,
    log: Output,
    terminal: Output,
    transactions: AtomicU32,
}

/// What a process has written so far.
type Output = Arc<Mutex<String>>;

impl TestServer {
    /// A server where everybody may register.
    pub async fn start() -> Self {
        Self::start_with(&["registration.mode=open"]).await
    }

    /// A server with these `--set`s.
    pub async fn start_with(sets: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sets = sets.iter().map(|set| (*set).to_owned()).collect::<Vec<_>>();
        let running = spawn(&directory, &sets);
        Self {
            child: running.child,
            directory,
            sets,
            base: format!("http://{}", running.address),
            // Each request once, on a connection of its own: what was sent is never sent again behind a the back of a test.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .retry(reqwest::retry::never())
                .build()
                .unwrap(),
            log: running.log,
            terminal: running.terminal,
            transactions: AtomicU32::new(0),
        }
    }

    /// Ends the process and starts it again on the same database.
    pub async fn restart(&mut self) {
        assert!(self.terminate().await.success());
        self.begin();
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub async fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        until("the end of the process", async || {
            self.child.try_wait().unwrap()
        })
        .await
    }

    /// The lines on standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The lines on standard output so far.
    pub fn terminal(&self) -> String {
        self.terminal.lock().unwrap().clone()
    }

    /// The most memory that the process has had so far (`VmHWM`).
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the process again after [`TestServer::kill`] or [`TestServer::terminate`].
    pub fn begin(&mut self) {
        let running = spawn(&self.directory, &self.sets);
        self.child = running.child;
        self.base = format!("http://{}", running.address);
        self.log = running.log;
        self.terminal = running.terminal;
    }

    /// Runs a command of the operator with the server's configuration, and `input` as its standard input.
    pub fn command(&self, arguments: &[&str], input: &str) -> std::process::Output {
        let mut child = command(&self.directory, &self.sets)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may have ended without reading it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A request without a token.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// GET without a token.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    /// POST without a token.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    /// A new user with the password `password of <name>`.
    pub async fn register(&self, name: &str) -> User<'_> {
        let body = json!({
            "username": name,
            "password": format!("password of {name}"),
            "auth": { "type": "m.login.dummy" },
        });
        let answer = self.post("/_matrix/client/v3/register", &body).await;
        User::new(self, &answer.ok())
    }

    /// Alice, Bob, and a public room of hers that he has joined.
    pub async fn two_in_a_room(&self) -> (User<'_>, User<'_>, String) {
        let (alice, bob) = (self.register("alice").await, self.register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room_id).await;
        (alice, bob, room_id)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Already gone is fine too.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log:\n{}---", self.log());
        }
    }
}

/// A user with a device and its access token.
#[derive(Clone)]
pub struct User<'a> {
    pub server: &'a TestServer,
    pub user_id: String,
    pub device_id: String,
    pub token: String,
}

impl<'a> User<'a> {
    /// The user of the answer of a login or registration.
    pub fn new(server: &'a TestServer, answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Self {
            server,
            user_id: text("user_id"),
            device_id: text("device_id"),
            token: text("access_token"),
        }
    }

    /// A request with this user's token.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.server.request(method, path).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn delete(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::DELETE, path).json(body)).await
    }

    /// A new room.
    pub async fn create_room(&self, body: &Value) -> String {
        let answer = self.post("/_matrix/client/v3/createRoom", body).await.ok();
        answer["room_id"].as_str().unwrap().to_owned()
    }

    /// Joins a room, by its id or an alias.
    pub async fn join(&self, room: &str) {
        let path = format!("/_matrix/client/v3/join/{}", room.replace('#', "%23"));
        self.post(&path, &json!({})).await.ok();
    }

    /// Sends a text message; the event's id.
    pub async fn send_text(&self, room_id: &str, text: &str) -> String {
        let number = self.server.transactions.fetch_add(1, Ordering::Relaxed);
        let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/t{number}");
        let body = json!({ "msgtype": "m.text", "body": text });
        let answer = self.put(&path, &body).await.ok();
        answer["event_id"].as_str().unwrap().to_owned()
    }
}

/// Status and JSON of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Answer {
    /// Sends a request and reads its answer, which must be JSON.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status();
        let bytes = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            panic!("{status}, {error}: {}", String::from_utf8_lossy(&bytes))
        });
        Self { status, body }
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    /// Asserts a failure.
    #[track_caller]
    pub fn error(&self, status: u16, errcode: &str) {
        let actual = (self.status.as_u16(), self.body["errcode"].as_str());
        assert_eq!(actual, (status, Some(errcode)), "{}", self.body);
        assert!(self.body["error"].is_string(), "{}", self.body);
    }
}

struct Running {
    child: Child,
    address: String,
    log: Output,
    terminal: Output,
}

/// The server's binary: `$HEARTH`, or beside the directory of this test's.
pub fn binary() -> PathBuf {
    std::env::var_os("HEARTH").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.parent().unwrap().with_file_name("hearth")
        },
        PathBuf::from,
    )
}

fn command(directory: &TempDir, sets: &[String]) -> Command {
    let mut command = Command::new(binary());
    command
        .current_dir(directory.path())
        .args(["--set", "server.listen=[\"127.0.0.1:0\"]"])
        .args(["--set", "storage.path=data", "--set", "storage.cache_mb=64"])
        // Tests of the limits set them.
        .args(["--set", "rate_limits.enabled=false"])
        .args(sets.iter().flat_map(|set| ["--set", set]));
    command
}

fn spawn(directory: &TempDir, sets: &[String]) -> Running {
    let mut command = command(directory, sets);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (found, address) = mpsc::channel();
    let log = Output::default();
    collect(child.stderr.take().unwrap(), log.clone(), Some(found));
    let terminal = Output::default();
    collect(child.stdout.take().unwrap(), terminal.clone(), None);
    let address = address.recv_timeout(START).unwrap_or_else(|_| {
        panic!("the server did not start:\n{}", log.lock().unwrap());
    });
    Running {
        child,
        address,
        log,
        terminal,
    }
}

/// Gathers lines on a thread of its own; tells the address when the server says on which it listens.
fn collect(from: impl Read + Send + 'static, to: Output, found: Option<mpsc::Sender<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            to.lock().unwrap().push_str(&format!("{line}\n"));
            if let (Some(found), Some(address)) = (&found, listening(&line)) {
                // The test may have given up.
                let _ = found.send(address);
            }
        }
    });
}

/// The address in the line that says it, text or JSON.
fn listening(line: &str) -> Option<String> {
    if let Some((_, address)) = line.split_once("listening address=") {
        return Some(address.trim().to_owned());
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let address = line["address"].as_str()?;
    (line["message"] == "listening").then(|| address.to_owned())
}
