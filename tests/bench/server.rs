//! The server under measurement: our own binary with an empty directory, or a running peer.

use std::{
    fs,
    io::{Result, Write},
    os::unix::fs::FileExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A server to measure, known by its address and process.
pub struct Server {
    /// `address:port` of the client API.
    pub host: String,
    pid: u32,
    child: Option<Child>,
    /// From the start of the process to its first answer, when we started it.
    pub start: Option<Duration>,
    _directory: Option<tempfile::TempDir>,
}

impl Server {
    /// A server that runs already, with open registration and without rate limits.
    pub fn running(host: String, pid: u32) -> Self {
        Self {
            host,
            pid,
            child: None,
            start: None,
            _directory: None,
        }
    }

    /// Starts `binary` on an empty directory below `parent`.
    pub fn start(binary: &Path, parent: &Path) -> Result<Self> {
        let directory = tempfile::tempdir_in(parent)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let host = format!("127.0.0.1:{port}");
        let begin = Instant::now();
        let child = Command::new(binary)
            .current_dir(directory.path())
            .args(["--set", &format!("server.listen=[\"{host}\"]")])
            .args([
                "--set",
                "registration.mode=open",
                "--set",
                "rate_limits.enabled=false",
            ])
            .args(["--set", "log.level=warn"])
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log"))?)
            .spawn()?;
        while !answers(&host) {
            if begin.elapsed() > Duration::from_secs(30) {
                return Err(std::io::Error::other("the server does not answer"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = Some(begin.elapsed());
        Ok(Self {
            host,
            pid: child.id(),
            child: Some(child),
            start,
            _directory: Some(directory),
        })
    }

    /// Processor time used so far, user and system, of all threads.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks: u64 = [11, 12]
            .iter()
            .filter_map(|&at| fields.get(at)?.parse::<u64>().ok())
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in MB.
    pub fn memory_mb(&self) -> f64 {
        self.status_mb("VmRSS:")
    }

    /// The most resident memory in MB since the start, or since it was forgotten.
    pub fn peak_memory_mb(&self) -> f64 {
        self.status_mb("VmHWM:")
    }

    /// Begins a new peak.
    pub fn forget_peak_memory(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5")
    }

    /// For how long the server's threads have been able to run without a processor to run on, all together.
    pub fn waited(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        let waited = |task: fs::DirEntry| {
            let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let waited = tasks.into_iter().flatten().flatten().filter_map(waited);
        Duration::from_nanos(waited.sum())
    }

    fn status_mb(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default();
        let kb = line
            .split_whitespace()
            .next()
            .and_then(|kb| kb.parse::<f64>().ok());
        kb.unwrap_or_default() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already gone is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn answers(host: &str) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect(host) else {
        return false;
    };
    let request = format!(
        "GET /_matrix/client/versions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && std::io::Read::read_to_string(&mut stream, &mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// The share of the processors that was idle, between two calls: of those that this program may use, so that
/// `taskset -c 0,1` measures a machine with two.
pub struct Processors(u64, u64);

impl Processors {
    /// Now.
    pub fn now() -> Self {
        let allowed = allowed_processors();
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (mut idle, mut total) = (0, 0);
        for line in stat.lines() {
            let mut words = line.split_whitespace();
            let name = words.next().and_then(|name| name.strip_prefix("cpu"));
            if !name
                .and_then(|number| number.parse().ok())
                .is_some_and(|number: u32| allowed.contains(&number))
            {
                continue;
            }
            let numbers = words
                .take(8)
                .filter_map(|number| number.parse::<u64>().ok());
            for (field, number) in numbers.enumerate() {
                total += number;
                // "idle" and "iowait"
                idle += if matches!(field, 3 | 4) { number } else { 0 };
            }
        }
        Self(idle, total)
    }

    /// Percent idle since then.
    pub fn idle_percent(&self) -> f64 {
        let now = Self::now();
        100.0 * (now.0 - self.0) as f64 / (now.1 - self.1).max(1) as f64
    }
}

/// The processors that this process may run on, and the server that it starts.
fn allowed_processors() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or_default();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Sequential appends of 4 kB with `fdatasync`, per second.
pub fn disk_syncs_per_second(parent: &Path) -> Result<f64> {
    let file = tempfile::tempfile_in(parent)?;
    let (begin, mut count) = (Instant::now(), 0u64);
    while begin.elapsed() < Duration::from_secs(2) {
        file.write_all_at(&[7; 4096], count * 4096)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}
