//! Whom a user ignores: `m.ignored_user_list` of their account data, parsed once for each version of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma_common::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    Result, View, account_data,
    user::{self, UserNumber},
};

use crate::reader_cache::ReaderCache;

/// The type of the account data.
pub(crate) const IGNORED_USERS: &str = "m.ignored_user_list";

/// "`ignored_users`: The map of users to ignore." A malformed list ignores nobody.
pub(crate) fn listed(content: &RawJsonValue) -> impl Iterator<Item = OwnedUserId> + use<> {
    #[derive(Deserialize)]
    struct Content {
        ignored_users: HashMap<String, serde::de::IgnoredAny>,
    }

    let users = serde_json::from_str::<Content>(content.get())
        .map(|content| content.ignored_users)
        .unwrap_or_default();
    users
        .into_keys()
        .filter_map(|user_id| OwnedUserId::try_from(user_id).ok())
}

/// The users that one user ignores.
#[derive(Debug, Default)]
pub(crate) struct Ignored {
    numbers: HashSet<UserNumber>,
    /// Of whom nothing was known when the list was read.
    unknown: HashSet<OwnedUserId>,
}

impl Ignored {
    /// The list of a user in a view.
    pub(crate) fn of(view: &dyn View, cache: &ReaderCache, owner: UserNumber) -> Result<Arc<Self>> {
        let stored = account_data::get_stamped(view, owner, None, IGNORED_USERS)?;
        let Some((position, content)) = stored else {
            return Ok(Arc::default());
        };
        let Some(position) = position else {
            return Ok(Arc::new(Self::parse(view, owner, &content)?));
        };
        if let Some(ignored) = cache.ignored(owner, position) {
            return Ok(ignored);
        }
        let ignored = Arc::new(Self::parse(view, owner, &content)?);
        cache.insert_ignored(owner, position, ignored.clone());
        Ok(ignored)
    }

    /// Nobody ignores themselves.
    fn parse(view: &dyn View, owner: UserNumber, content: &RawJsonValue) -> Result<Self> {
        let listed: Vec<_> = listed(content).collect();
        let borrowed: Vec<&UserId> = listed.iter().map(|user_id| &**user_id).collect();
        let numbers = user::numbers(view, &borrowed)?;
        let mut ignored = Self::default();
        for (user_id, number) in listed.into_iter().zip(numbers) {
            match number {
                Some(number) if number == owner => {}
                Some(number) => drop(ignored.numbers.insert(number)),
                None => drop(ignored.unknown.insert(user_id)),
            }
        }
        Ok(ignored)
    }

    /// Whether a user is ignored.
    pub(crate) fn contains(&self, view: &dyn View, user: UserNumber) -> Result<bool> {
        if self.numbers.contains(&user) {
            return Ok(true);
        }
        if self.unknown.is_empty() {
            return Ok(false);
        }
        let user_id = user::id(view, user)?;
        Ok(user_id.is_some_and(|user_id| self.unknown.contains(&user_id)))
    }

    /// Whether nobody is ignored.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.unknown.is_empty()
    }
}
