//! The names that new users may take.

use ruma_common::{OwnedUserId, ServerName, UserId};

use crate::Entropy;

/// Letters of generated names: none that look alike.
const LETTERS: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";

/// A name that a user cannot have (`M_INVALID_USERNAME`), with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUsername(pub &'static str);

/// The user id for a wished name.
///
/// > The server MUST either map the provided `username` onto a `user_id` in a logical manner, or
/// > reject any `username` which does not comply to the grammar with `M_INVALID_USERNAME`.
///
/// Capitals are mapped, everything else outside the grammar is rejected.
pub(crate) fn user_id(
    username: &str,
    server_name: &ServerName,
) -> Result<OwnedUserId, InvalidUsername> {
    let localpart = username.to_ascii_lowercase();
    if localpart.is_empty() {
        return Err(InvalidUsername("A user name cannot be empty"));
    }
    // > The localpart of a user ID MUST NOT be empty and MUST contain only the characters `a-z`,
    // > `0-9`, `.`, `_`, `=`, `-`, `/`, and `+`.
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._=-/+".contains(&byte);
    if !localpart.bytes().all(allowed) {
        return Err(InvalidUsername(
            "User names consist of a-z, 0-9 and the characters . _ = - / +",
        ));
    }
    // By convention these are the users of application services.
    if localpart.starts_with('_') {
        return Err(InvalidUsername("User names do not begin with _"));
    }
    // > The length of a user ID, including the `@` sigil and the domain, MUST NOT exceed 255 bytes.
    let text = format!("@{localpart}:{server_name}");
    if text.len() > 255 {
        return Err(InvalidUsername("The user name is too long"));
    }
    UserId::parse(text).map_err(|_| InvalidUsername("Not a user name"))
}

/// A name for somebody who does not wish one.
pub(crate) fn generate(
    entropy: &Entropy,
    server_name: &ServerName,
) -> Result<OwnedUserId, InvalidUsername> {
    user_id(&entropy.word(LETTERS, 12), server_name)
}

/// Whom a login means by `user`: a full user id of this server, or a localpart. None for users of
/// other servers and for what cannot be a user id.
pub(crate) fn local_user_id(user: &str, server_name: &ServerName) -> Option<OwnedUserId> {
    let user_id = if user.starts_with('@') {
        UserId::parse(user).ok()?
    } else {
        UserId::parse_with_server_name(user, server_name).ok()?
    };
    (user_id.server_name() == server_name).then_some(user_id)
}

#[cfg(test)]
mod tests {
    use ruma_common::server_name;

    use super::{generate, local_user_id, user_id};
    use crate::Entropy;

    #[test]
    fn new_names_follow_the_strict_grammar() {
        let server = server_name!("example.org");
        for good in ["alice", "q3._=-/+", "0"] {
            assert_eq!(
                user_id(good, server).unwrap(),
                format!("@{good}:example.org")
            );
        }
        assert_eq!(user_id("ALICE", server).unwrap(), "@alice:example.org");
        let long = "a".repeat(250);
        for bad in [
            "", "a b", "a:b", "@a", "a!", "é", "a\n", "a'b", "_bot", "a\\", &long,
        ] {
            user_id(bad, server).expect_err(bad);
        }
        assert!(user_id(&"a".repeat(242), server).is_ok());
        assert!(user_id(&"a".repeat(243), server).is_err());
    }

    #[test]
    fn generated_names_are_valid_and_differ() {
        let server = server_name!("example.org");
        let entropy = Entropy::seeded(1);
        let first = generate(&entropy, server).unwrap();
        assert_ne!(first, generate(&entropy, server).unwrap());
    }

    #[test]
    fn logins_name_users_of_this_server() {
        let server = server_name!("example.org");
        let alice = Some("@alice:example.org".to_owned());
        for text in ["alice", "@alice:example.org"] {
            let found = local_user_id(text, server).map(|id| id.to_string());
            assert_eq!(found, alice);
        }
        for text in ["@alice:example.com", "@", "@alice", ""] {
            assert_eq!(
                local_user_id(text, server).filter(|id| !id.localpart().is_empty()),
                None
            );
        }
    }
}
