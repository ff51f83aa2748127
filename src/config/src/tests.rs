//! Tests of the whole way from layers to sections.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use super::*;

const EXAMPLE: &str = include_str!("../../../config.toml.example");

fn from_file(text: &str) -> Result<Config, ConfigError> {
    resolve(
        Some((PathBuf::from("config.toml"), text.to_owned())),
        std::iter::empty(),
        &[],
    )
}

fn from_env(name: &str, value: &str) -> Result<Config, ConfigError> {
    resolve(
        None,
        std::iter::once((name.to_owned(), value.to_owned())),
        &[],
    )
}

fn from_sets(sets: &[&str]) -> Result<Config, ConfigError> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    resolve(None, std::iter::empty(), &sets)
}

fn message(result: Result<Config, ConfigError>) -> String {
    result.expect_err("this configuration is wrong").to_string()
}

fn names(table: &toml::Table) -> BTreeSet<String> {
    let keys = |(section, keys): (&String, &toml::Value)| {
        let keys = keys.as_table().expect("only sections at the top");
        keys.keys()
            .map(|key| format!("{section}.{key}"))
            .collect::<Vec<_>>()
    };
    table.iter().flat_map(keys).collect()
}

#[test]
fn nothing_gives_the_defaults() {
    assert_eq!(
        from_sets(&[]).expect("defaults are right"),
        Config::default()
    );
}

#[test]
fn the_example_names_every_option_with_its_default() {
    assert_eq!(
        from_file(EXAMPLE).expect("the example is right"),
        Config::default()
    );

    // Options that are unset by default stand there as `#name = …`; with them the example is still TOML.
    let is_option =
        |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| is_option(rest))
                .unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let set = names(&EXAMPLE.parse().expect("TOML"));
    let all = names(&uncommented.parse().expect("TOML"));
    assert_eq!(
        all,
        option_names().into_iter().collect(),
        "options of the example, options of the code"
    );

    let unset: Vec<_> = all.difference(&set).map(String::as_str).collect();
    let expected = [
        "media.path",
        "media.s3_access_key_id",
        "media.s3_access_key_id_file",
        "media.s3_bucket",
        "media.s3_endpoint",
        "media.s3_region",
        "media.s3_secret_access_key",
        "media.s3_secret_access_key_file",
        "rate_limits.admin_redaction",
        "registration.shared_secret",
        "registration.shared_secret_file",
        "server.admin_socket",
        "server.public_url",
        "server.support_page",
        "server_notices.avatar_url",
        "server_notices.localpart",
        "storage.cache_mb",
        "turn.password",
        "turn.password_file",
        "turn.secret",
        "turn.secret_file",
        "turn.username",
    ];
    assert_eq!(unset, expected, "only these have no default to show");
}

#[test]
fn later_layers_win_key_by_key() {
    let file = "[server]\nname = \"file.example\"\npublic_url = \"https://file.example\"\n[log]\nlevel = \"warn\"";
    let env = [
        ("HEARTH__SERVER__NAME".to_owned(), "env.example".to_owned()),
        ("HEARTH__LOG__FORMAT".to_owned(), "json".to_owned()),
        ("HEARTH_OTHER".to_owned(), "ignored".to_owned()),
        ("PATH".to_owned(), "/bin".to_owned()),
    ];
    let sets = [
        "server.name=set.example".to_owned(),
        "server.name=last.example".to_owned(),
    ];
    let config = resolve(
        Some((PathBuf::from("f"), file.to_owned())),
        env.into_iter(),
        &sets,
    )
    .expect("right");
    assert_eq!(config.server.name, "last.example");
    assert_eq!(
        config.server.public_url.as_deref(),
        Some("https://file.example")
    );
    assert_eq!(
        config.log,
        Log {
            level: "warn".to_owned(),
            format: LogFormat::Json
        }
    );
}

#[test]
fn values_of_sets_and_variables_are_toml_or_strings() {
    let sets = [
        r#"server.listen=["127.0.0.1:0", "[::1]:8009"]"#,
        "server.name=localhost:8448",
        "server.trusted_proxies=[]",
        "rooms.default_version=11",
        "rate_limits.enabled = false",
        "rate_limits.message={per_second=2,burst_count=7}",
        "storage.durability=os",
        "storage.cache_mb=128",
    ];
    let config = from_sets(&sets).expect("right");
    let listen = ["127.0.0.1:0", "[::1]:8009"]
        .map(|address| Listener::Http(address.parse().expect("address")));
    assert_eq!(config.server.listen, listen);
    assert_eq!(config.server.name, "localhost:8448");
    assert_eq!(config.server.trusted_proxies, []);
    assert_eq!(config.rooms.default_version.as_str(), "11");
    assert!(!config.rate_limits.enabled);
    let rate = Rate {
        per_second: 2.0,
        burst_count: 7,
    };
    assert_eq!(config.rate_limits.message, rate);
    assert_eq!(config.storage.durability, Durability::Os);
    assert_eq!(config.storage.cache_mb, Some(128));

    let config = from_env("HEARTH__REGISTRATION__MODE", "open").expect("right");
    assert_eq!(config.registration.mode, RegistrationMode::Open);
}

#[test]
fn an_unknown_name_is_an_error_with_a_suggestion() {
    let cases = [
        (
            from_sets(&["server.nmae=x"]),
            "--set server.nmae: unknown option `server.nmae`; did you mean `server.name`?",
        ),
        (
            from_sets(&["server.level=x"]),
            "--set server.level: unknown option `server.level`; did you mean `log.level`?",
        ),
        (
            from_sets(&["qqqqqqqqqq.zzz=1"]),
            "--set qqqqqqqqqq.zzz: unknown option `qqqqqqqqqq`",
        ),
        (from_sets(&["name=1"]), "--set name: unknown option `name`"),
        (
            from_env("HEARTH__RATE_LIMIT__ENABLED", "false"),
            "environment variable HEARTH__RATE_LIMIT__ENABLED: unknown option `rate_limit`; did you mean `rate_limits`?",
        ),
        (
            from_env("HEARTH__SERVER", "x"),
            "environment variable HEARTH__SERVER: unknown option `server`",
        ),
        (
            from_file("[serve]\nname = \"x\""),
            "config.toml: unknown option `serve`; did you mean `server`?",
        ),
        (
            from_file("[log]\nformt = \"x\""),
            "config.toml: unknown option `log.formt`; did you mean `log.format`?",
        ),
        (
            from_file("name = \"x\""),
            "config.toml: unknown option `name`",
        ),
    ];
    for (result, expected) in cases {
        assert_eq!(message(result), expected);
    }
}

#[test]
fn a_wrong_value_names_its_place_and_is_not_shown() {
    let cases = [
        (
            from_file("[log]\n\nformat = \"xml\""),
            "config.toml, line 3, column 10: ",
        ),
        (
            from_file("[log]\nformat = \"json"),
            "config.toml, line 2, column ",
        ),
        (
            from_file("[registration]\nshared_secret = hunter2"),
            "config.toml, line 2, column 17: ",
        ),
        (
            from_file("[registration]\nshared_secret = \"\""),
            "config.toml, line 2, column 17: a secret must not be empty",
        ),
        (
            from_file("[registration]\nshared_secret_file = 3"),
            "config.toml: registration.shared_secret_file: expected",
        ),
        (
            from_sets(&["registration.shared_secret="]),
            "--set registration.shared_secret: a secret must not be empty",
        ),
        (from_sets(&["server.listen=8008"]), "--set server.listen: "),
        (
            from_sets(&["server.listen=[\"8008\"]"]),
            "--set server.listen: expected an address and a port",
        ),
        (
            from_sets(&["server.listen=[]"]),
            "server.listen: at least one",
        ),
        (from_sets(&["server.name=a b"]), "--set server.name: "),
        (
            from_sets(&["server.public_url=example.org"]),
            "server.public_url: ",
        ),
        (
            from_sets(&["server.public_url=https://example.org/"]),
            "server.public_url: ",
        ),
        (
            from_sets(&["storage.cache_mb=8"]),
            "storage.cache_mb: at least 64",
        ),
        (
            from_sets(&["storage.cache_mb=-1"]),
            "--set storage.cache_mb: ",
        ),
        (
            from_sets(&["rooms.default_version=99"]),
            "rooms.default_version: ",
        ),
        (
            from_sets(&["registration.shared_secret-hunter2"]),
            "--set registration.shared_secret: expected `section.key=value`",
        ),
    ];
    for (result, expected) in cases {
        let message = message(result);
        assert!(
            message.starts_with(expected),
            "{message}\n  should begin with\n{expected}"
        );
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn media_and_the_admin_socket_lie_inside_the_storage_unless_set() {
    let config = from_sets(&["storage.path=/srv/hearth"]).expect("right");
    assert_eq!(config.media.path, Path::new("/srv/hearth/media"));
    let socket = Path::new("/srv/hearth/admin.sock");
    assert_eq!(config.server.admin_socket, socket);
    let config = from_sets(&["storage.path=/srv", "server.admin_socket=/run/h"]).expect("right");
    assert_eq!(config.server.admin_socket, Path::new("/run/h"));
    let config = from_sets(&["storage.path=/srv/hearth", "media.path=/m"]).expect("right");
    assert_eq!(config.media.path, Path::new("/m"));
}

#[test]
fn a_secret_is_read_from_its_file_and_the_later_form_wins() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"from the file\n").expect("written");
    let twin = format!("registration.shared_secret_file={}", file.path().display());

    let secret = |sets: &[&str]| {
        let config = from_sets(sets).expect("right");
        config
            .registration
            .shared_secret
            .map(|secret| secret.expose().to_owned())
    };
    assert_eq!(secret(&[&twin]).as_deref(), Some("from the file"));
    assert_eq!(
        secret(&["registration.shared_secret=x", &twin]).as_deref(),
        Some("from the file")
    );
    assert_eq!(
        secret(&[&twin, "registration.shared_secret=x"]).as_deref(),
        Some("x")
    );

    let both = "[registration]\nshared_secret = \"x\"\nshared_secret_file = \"y\"";
    assert!(message(from_file(both)).contains("cannot both be set"));
    assert!(
        message(from_sets(&["registration.shared_secret_file=/nonexistent"]))
            .starts_with("/nonexistent: ")
    );
    let shown = format!(
        "{:?}",
        from_sets(&["registration.shared_secret=hunter2"]).expect("right")
    );
    assert!(!shown.contains("hunter2"));
}

#[test]
fn a_named_file_must_exist() {
    let missing = load(
        Some(Path::new("/nonexistent/config.toml")),
        std::iter::empty(),
        &[],
    );
    assert!(message(missing).starts_with("/nonexistent/config.toml: "));
}

#[test]
fn the_cache_is_a_quarter_of_the_memory_and_at_least_64_mib() {
    let mut storage = Storage::default();
    assert_eq!(storage.cache_bytes(Some(4 << 30)), 1 << 30);
    assert_eq!(storage.cache_bytes(Some(100 << 20)), 64 << 20);
    assert_eq!(storage.cache_bytes(None), 64 << 20);
    storage.cache_mb = Some(100);
    assert_eq!(storage.cache_bytes(Some(4 << 30)), 100 << 20);
}

#[test]
fn the_options_of_s3_belong_together() {
    let wrong = [
        &["media.s3_region=eu-central-1"][..],
        &["media.s3_bucket=b", "media.s3_access_key_id=k"],
        &["media.max_upload_size=0"],
    ];
    for sets in wrong {
        assert!(message(from_sets(sets)).starts_with("media."), "{sets:?}");
    }
    let sets = [
        "media.s3_bucket=b",
        "media.s3_access_key_id=k",
        "media.s3_secret_access_key=s",
    ];
    assert!(from_sets(&sets).is_ok());
}

#[test]
fn a_rate_is_possible_and_whole() {
    let wrong = [
        ("per_second=0,burst_count=1", "per_second: between"),
        ("per_second=nan,burst_count=1", "per_second: between"),
        ("per_second=1,burst_count=0", "burst_count: at least 1"),
        ("per_second=1,burst=1", "unknown field"),
        ("per_second=1", "missing field"),
    ];
    for (rate, expected) in wrong {
        let set = format!("rate_limits.message={{{rate}}}");
        let message = message(from_sets(&[&set]));
        let begin = format!("--set rate_limits.message: {expected}");
        assert!(message.starts_with(&begin), "{message}");
    }
}
