//! Telling systemd how it stands (`Type=notify`, `WatchdogSec=`): datagrams to the socket that it names in the environment.
//!
//! > These functions send a single datagram with the state string as payload to the socket referenced in the
//! > `$NOTIFY_SOCKET` environment variable. (sd_notify(3))

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// Who starts and watches this process, if it wants to know.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// From the environment's variables; nobody if there are none.
    pub(crate) fn find(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let socket = variable("NOTIFY_SOCKET").and_then(|name| match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the socket of systemd cannot be used");
                None
            }
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // > If $WATCHDOG_PID is set and $WATCHDOG_PID does not match the current process, then [it is not for us].
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        Self {
            socket,
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// > READY=1: Tells the service manager that service startup is finished.
    pub(crate) fn ready(&self) {
        self.say("READY=1");
    }

    /// > STOPPING=1: Tells the service manager that the service is beginning its shutdown.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Says from time to time that tasks still get their turn. Does not end.
    ///
    /// > It is recommended that a daemon sends a keep-alive notification message to the service manager every half of the
    /// > time returned here.
    pub(crate) async fn stay_alive(&self) {
        let Some(watchdog) = self.watchdog else {
            return std::future::pending().await;
        };
        loop {
            self.say("WATCHDOG=1");
            tokio::time::sleep(watchdog / 2).await;
        }
    }

    fn say(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, state, "systemd did not hear this");
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    // > If the first character is "@" […], the string is understood as Linux abstract namespace socket.
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, os::unix::net::UnixDatagram, path::Path, time::Duration};

    use super::Supervisor;

    fn supervisor(socket: &Path, pid: u32) -> Supervisor {
        Supervisor::find(|name| match name {
            "NOTIFY_SOCKET" => Some(socket.into()),
            "WATCHDOG_USEC" => Some("20000000".into()),
            "WATCHDOG_PID" => Some(OsString::from(pid.to_string())),
            _ => None,
        })
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn systemd_hears_of_the_start_the_life_and_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let us = supervisor(&path, std::process::id());
        us.ready();
        let lived = tokio::time::timeout(Duration::from_secs(25), us.stay_alive()).await;
        assert!(lived.is_err());
        us.stopping();
        for expected in [
            "READY=1",
            "WATCHDOG=1",
            "WATCHDOG=1",
            "WATCHDOG=1",
            "STOPPING=1",
        ] {
            assert_eq!(heard(&systemd), expected);
        }
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let us = supervisor(Path::new("/nonexistent"), 0);
        assert_eq!(us.watchdog, None);
        us.ready();
        Supervisor::find(|_| None).ready();
    }
}
