//! The commands of operators, with a running server and without.

use std::{os::unix::fs::PermissionsExt as _, process::Output};

use reqwest::Method;
use serde_json::json;

use crate::server::{Answer, TestServer, User, until};

const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

#[track_caller]
fn done(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Errors come on standard error, with exit status 1, and nothing is printed.
#[track_caller]
fn refused(output: &Output, sentence: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(sentence), "{errors}");
    assert!(output.stdout.is_empty());
}

async fn login(server: &TestServer, name: &str, password: &str) -> Answer {
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": password,
    });
    server.post(LOGIN, &body).await
}

async fn create_and_log_in(server: &mut TestServer, running: bool) {
    let created = server.command(&["user", "create", "alice", "--admin"], "one\n");
    assert_eq!(done(&created), "@alice:localhost was made\n");
    let created = server.command(&["user", "create", "@bob:localhost"], "two");
    assert_eq!(done(&created), "@bob:localhost was made\n");
    let taken = server.command(&["user", "create", "alice"], "three\n");
    refused(&taken, "This user name is taken");
    if !running {
        server.begin();
    }
    let alice = login(server, "alice", "one").await.ok();
    let alice = User::new(server, &alice);
    let bob = login(server, "bob", "two").await.ok();
    let bob = User::new(server, &bob);
    // Only an administrator may.
    let suspend = |user_id: &str| format!("/_matrix/client/v1/admin/suspend/{user_id}");
    let body = json!({ "suspended": true });
    let refused = bob.put(&suspend(&alice.user_id), &body).await;
    refused.error(403, "M_FORBIDDEN");
    alice.put(&suspend(&bob.user_id), &body).await.ok();
}

#[tokio::test]
async fn users_are_made_by_the_running_server() {
    let mut server = TestServer::start_with(&[]).await;
    create_and_log_in(&mut server, true).await;
    assert!(!server.log().contains("two"), "{}", server.log());
}

#[tokio::test]
async fn users_are_made_while_no_server_runs() {
    let mut server = TestServer::start_with(&[]).await;
    assert!(server.terminate().await.success());
    create_and_log_in(&mut server, false).await;
}

#[tokio::test]
async fn names_and_passwords_are_checked() {
    let server = TestServer::start_with(&[]).await;
    let create = |name, password| server.command(&["user", "create", name], password);
    refused(&create("a b", "x\n"), "User names consist of");
    refused(
        &create("@alice:elsewhere.example", "x\n"),
        "does not belong to this server",
    );
    refused(&create("alice", ""), "there is no password");
    refused(&create("alice", "\n"), "there is no password");
    let unknown = server.command(&["user", "password", "nobody"], "x\n");
    refused(&unknown, "User not found");
}

#[tokio::test]
async fn a_password_is_set_and_devices_are_logged_out() {
    let server = TestServer::start().await;
    let alice = server.register("alice").await;
    let kept = ["user", "password", "alice", "--keep-devices"];
    done(&server.command(&kept, "second\n"));
    alice.get(WHOAMI).await.ok();
    let set = server.command(&["user", "password", "@alice:localhost"], "third\n");
    assert_eq!(done(&set), "@alice:localhost has another password\n");
    alice.get(WHOAMI).await.error(401, "M_UNKNOWN_TOKEN");
    login(&server, "alice", "second")
        .await
        .error(403, "M_FORBIDDEN");
    login(&server, "alice", "third").await.ok();
}

#[tokio::test]
async fn people_register_with_a_token() {
    let server = TestServer::start_with(&["registration.mode=token"]).await;
    let create = ["token", "create", "--uses", "1", "--expires", "1h"];
    let token = done(&server.command(&create, ""));
    let token = token.trim_end();
    let register = async |name: &str| {
        let auth = json!({ "type": "m.login.registration_token", "token": token });
        let body = json!({ "username": name, "password": "secret", "auth": auth });
        server.post("/_matrix/client/v3/register", &body).await
    };
    register("alice").await.ok();
    assert_eq!(register("bob").await.status, 401);
    let chosen = ["token", "create", "--token", "friends"];
    assert_eq!(done(&server.command(&chosen, "")), "friends\n");
    refused(&server.command(&chosen, ""), "The token is taken");
}

#[tokio::test]
async fn the_socket_is_its_owners_and_a_stale_one_is_replaced() {
    let mut server = TestServer::start_with(&[]).await;
    let socket = server.data().join("admin.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for path in ["/command", "/_matrix/command"] {
        let tcp = server.request(Method::POST, path).body("{}");
        Answer::of(tcp).await.error(404, "M_UNRECOGNIZED");
    }
    server.kill();
    assert!(socket.exists());
    // Nobody answers there: the command works on the data.
    done(&server.command(&["user", "create", "alice"], "x\n"));
    server.begin();
    done(&server.command(&["user", "create", "bob"], "x\n"));
    login(&server, "bob", "x").await.ok();
    assert!(server.terminate().await.success());
    assert!(!socket.exists());
}

#[tokio::test]
async fn it_is_said_why_nothing_can_be_done() {
    let server = TestServer::start_with(&[]).await;
    let elsewhere = ["--set", "server.admin_socket=elsewhere", "token", "create"];
    let locked = server.command(&elsewhere, "");
    refused(&locked, "a server has the database in data open");
    refused(&locked, "elsewhere");
    let nowhere = ["--set", "storage.path=nowhere", "token", "create"];
    refused(
        &server.command(&nowhere, ""),
        "there is no database in nowhere",
    );
    assert!(!server.data().with_file_name("nowhere").exists());
    // A listener that never answers.
    let silent = server.data().join("silent");
    let _listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let set = format!("server.admin_socket={}", silent.display());
    let silent = server.command(&["--set", &set, "token", "create"], "");
    refused(&silent, "but does not answer");
}

#[tokio::test]
async fn help_names_the_commands() {
    let server = TestServer::start_with(&[]).await;
    let help = done(&server.command(&["--help"], ""));
    for command in ["user", "token", "backup", "restore"] {
        assert!(help.contains(&format!("\n  {command}  ")), "{help}");
    }
    let help = done(&server.command(&["backup", "--help"], ""));
    assert!(help.contains("verify"), "{help}");
    // Passwords would be seen by everybody on the machine.
    let argument = server.command(&["user", "create", "alice", "password"], "");
    assert_eq!(argument.status.code(), Some(2));
}

#[tokio::test]
async fn a_stopped_server_is_backed_up_and_restored() {
    let mut server = TestServer::start().await;
    let token = server.register("alice").await.token.clone();
    assert!(server.terminate().await.success());
    let backup = server.data().with_file_name("backup");
    let made = done(&server.command(&["backup", "backup"], ""));
    assert!(
        made.starts_with(&format!("{} is a backup", backup.display())),
        "{made}"
    );
    let verified = done(&server.command(&["backup", "verify", "backup"], ""));
    assert!(
        verified.starts_with("backup is a whole backup of localhost"),
        "{verified}"
    );
    refused(
        &server.command(&["backup", "backup"], ""),
        "backup is not empty",
    );
    refused(
        &server.command(&["restore", "backup"], ""),
        "data is not empty",
    );
    std::fs::remove_dir_all(server.data()).unwrap();
    done(&server.command(&["restore", "backup"], ""));
    server.begin();
    let whoami = server.request(Method::GET, WHOAMI).bearer_auth(token);
    assert_eq!(Answer::of(whoami).await.ok()["user_id"], "@alice:localhost");
    assert!(server.terminate().await.success());
    // Half of a restore is no data directory.
    std::fs::write(server.data().join("restore.incomplete"), "").unwrap();
    refused(&server.command(&[], ""), "was interrupted");
    std::fs::remove_file(backup.join("signing.key")).unwrap();
    refused(
        &server.command(&["backup", "verify", "backup"], ""),
        "1 files of the backup are missing or damaged: signing.key",
    );
}

/// A crash between a file and its row leaves the file.
#[tokio::test]
async fn files_of_media_without_a_row_are_removed_at_the_start() {
    let mut server = TestServer::start().await;
    let alice = server.register("alice").await;
    let upload = alice
        .request(Method::POST, "/_matrix/media/v3/upload")
        .body("named");
    Answer::of(upload).await.ok();
    assert!(server.terminate().await.success());
    let name = "ab".repeat(32);
    let directory = server.data().join("media/blob/ab");
    std::fs::create_dir_all(&directory).unwrap();
    let orphan = directory.join(name);
    std::fs::write(&orphan, "nobody's").unwrap();
    server.begin();
    until("its end", async || (!orphan.exists()).then_some(())).await;
}
