//! `powercutfs MOUNTPOINT`: mounts a file system whose power can be cut, for tests that are not
//! written in Rust. Prints `mounted`, then takes commands from its standard input, one a line (`stall`,
//! `resume`, `cut [PERCENT]`, `restore`), answers each with `ok`, and unmounts when the input ends.

use std::{
    io::{self, BufRead, Write},
    path::Path,
    process::ExitCode,
};

use hearth_tests::power_cut_fs::PowerCutFs;

fn main() -> ExitCode {
    let Some(mountpoint) = std::env::args_os().nth(1) else {
        eprintln!("usage: powercutfs MOUNTPOINT");
        return ExitCode::from(2);
    };
    match serve(Path::new(&mountpoint)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("powercutfs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mountpoint: &Path) -> io::Result<()> {
    let disk = PowerCutFs::mount(mountpoint)?;
    say("mounted")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["stall"] => disk.stall(),
            ["resume"] => disk.resume(),
            ["cut"] => disk.cut(0),
            ["cut", percent] => disk.cut(percent.parse().map_err(io::Error::other)?),
            ["restore"] => disk.restore(),
            _ => return Err(io::Error::other(format!("unknown command: {line}"))),
        }
        say("ok")?;
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{line}")?;
    output.flush()
}
