//! The bars of `architecture.md`, section 6, measured: bytes per state change, what a message costs in small and
//! large rooms, a fork resolved, a whole state read.
//!
//! `cargo run --release -p hearth-room --example state_bars [bytes|acts]`

use std::time::Duration;

mod acts;
mod bytes;

/// Prints one figure beside its bar.
fn report(what: &str, value: f64, unit: &str, bar: Option<f64>) {
    let verdict = match bar {
        Some(bar) if value <= bar => format!("  (bar {bar}: holds)"),
        Some(bar) => format!("  (bar {bar}: MISSED)"),
        None => String::new(),
    };
    println!("{what:<64} {value:>10.2} {unit}{verdict}");
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

fn main() {
    let only = std::env::args().nth(1);
    let wants = |what: &str| only.as_deref().is_none_or(|only| only == what);
    if wants("bytes") {
        bytes::run();
    }
    if wants("acts") {
        acts::run();
    }
}
