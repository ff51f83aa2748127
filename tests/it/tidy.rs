//! What the compiler and clippy do not check: the floors of the house (docs/ARCHITECTURE.md), the length of files,
//! and that each file says what belongs in it.
//!
//! That `config.toml.example` names every option with its default is checked beside the code, in `src/config`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The floor of each package. A package depends on packages of lower floors only.
const FLOORS: &[(&str, u32)] = &[
    ("hearth-config", 0),
    ("hearth-event", 0),
    ("hearth-storage", 1),
    ("hearth-limit", 2),
    ("hearth-outbound", 2),
    ("hearth-room", 3),
    ("hearth-user", 3),
    ("hearth-media", 3),
    ("hearth-auth", 4),
    ("hearth-sync", 4),
    ("hearth-push", 4),
    ("hearth-admin", 5),
    ("hearth-api", 6),
    ("hearth", 7),
    ("hearth-tests", 8),
];

/// The most lines of a file.
const MAX_LINES: usize = 500;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a directory of the workspace")
}

/// Every Rust file below `directory`, as a path relative to the workspace, with its text.
fn rust_files(directory: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut directories = vec![top().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the workspace can be read") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(top())
                    .expect("below the top")
                    .display()
                    .to_string();
                files.insert(name, fs::read_to_string(&path).expect("source is UTF-8"));
            }
        }
    }
    files
}

fn all_files() -> BTreeMap<String, String> {
    let mut files = rust_files("src");
    files.extend(rust_files("tests"));
    files
}

#[test]
fn crates_use_lower_floors_only() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(top())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");

    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a package has a name");
        let Some(floor) = floors.get(name) else {
            wrong.push(format!("{name} has no floor: add it to FLOORS"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let used = dependency["name"]
                .as_str()
                .expect("a dependency has a name");
            if floors
                .get(used)
                .is_some_and(|used_floor| used_floor >= floor)
            {
                wrong.push(format!("{name} (floor {floor}) may not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        packages.len(),
        FLOORS.len(),
        "FLOORS lists a package that is not there"
    );
}

#[test]
fn files_are_short() {
    let files = all_files();
    let long = |name: &str| LONG_FILES.iter().any(|(long, _)| *long == name);
    let mut wrong = Vec::new();
    for (name, text) in &files {
        let lines = text.lines().count();
        if lines > MAX_LINES && !long(name) {
            wrong.push(format!("{name}: {lines} lines, at most {MAX_LINES}"));
        }
        if lines <= MAX_LINES && long(name) {
            wrong.push(format!("{name} is short enough: strike it from LONG_FILES"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        LONG_FILES.iter().all(|(name, _)| files.contains_key(*name)),
        "LONG_FILES lists a file that is not there"
    );
}

#[test]
fn files_say_what_belongs_in_them() {
    let files = all_files();
    let silent: Vec<_> = files
        .iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert!(
        silent.is_empty(),
        "these files do not begin with `//!`: {silent:#?}"
    );
}

/// The tests that docs/SECURITY.md names: words in backticks that are long enough to be a name and nothing else.
#[test]
fn the_tests_of_the_security_page_are_there() {
    let page = fs::read_to_string(top().join("docs/SECURITY.md")).expect("the page");
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let named: Vec<String> = last
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| !name.ends_with('/') && !name.starts_with("tests/"))
        .map(str::to_owned)
        .collect();
    assert!(named.len() > 100, "{}", named.len());
    let missing = missing_tests(&named);
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

/// Those of some names that no function has.
pub fn missing_tests(names: &[String]) -> Vec<&String> {
    let files = all_files();
    let absent = names.iter().filter(|name| {
        let declared = format!("fn {name}(");
        !files.values().any(|text| text.contains(&declared))
    });
    absent.collect()
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn expanded(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let (choices, after) = rest.split_once('}').expect("a brace is closed");
    choices
        .split(',')
        .flat_map(|choice| expanded(&format!("{before}{choice}{after}")))
        .collect()
}

/// Paths in backticks that begin at the top, the command's arguments behind them left out, and links.
#[test]
fn the_paths_of_the_pages_are_there() {
    let mut pages = vec!["README.md".to_owned(), "complement/README.md".to_owned()];
    for entry in fs::read_dir(top().join("docs")).expect("the pages") {
        let name = entry.expect("an entry").file_name();
        pages.push(format!("docs/{}", name.to_string_lossy()));
    }
    let mut missing = Vec::new();
    for page in pages {
        let text = fs::read_to_string(top().join(&page)).expect("a page is UTF-8");
        let text: String = text.split("```").step_by(2).collect();
        let paths = text.split('`').skip(1).step_by(2);
        let paths = paths.filter_map(|code| code.split_whitespace().next());
        let paths = paths.filter(|path| {
            let directory = path.split('/').next().unwrap_or_default();
            let known = ["src", "tests", "docs", "complement", ".ci"].contains(&directory);
            known && path.contains('/') && !path.contains('<')
        });
        let at_top = paths.flat_map(expanded).map(|path| top().join(path));
        let links = text.split("](").skip(1);
        let links = links.filter_map(|link| link.split([')', '#']).next());
        let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
        let beside = top().join(&page);
        let links = links.map(|link| beside.with_file_name(link));
        let absent = at_top.chain(links).filter(|path| {
            // A module is named with or without its ending.
            !path.exists() && !path.with_extension("rs").exists()
        });
        missing.extend(absent.map(|path| format!("{page}: {}", path.display())));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
