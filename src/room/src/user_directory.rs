//! The user directory: finding local users by their ids and display names. Names that users have in single rooms are not
//! in it: who is not in the room is not to learn them.

use std::{
    collections::{BTreeSet, HashSet},
    ops::ControlFlow,
};

use ruma_common::{OwnedMxcUri, OwnedUserId};
use storage::{
    Result, View,
    membership::{self, Membership},
    profile,
    room::RoomNumber,
    user::{self, UserNumber},
    user_directory as directory,
};

use crate::{Actor, rooms::Rooms};

mod follow;
mod words;

/// The most users of an answer.
const MAX_FOUND: usize = 50;
/// Rows of words that are looked at for one search.
const MAX_ROWS: usize = 20_000;
/// Users who are looked at for one search.
const MAX_CANDIDATES: usize = 5_000;
/// Memberships that are read for one search.
const MAX_MEMBERSHIPS: usize = 100_000;
/// Rows that are read at once.
const PAGE: usize = 256;

/// A user who was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// "The user's matrix user ID."
    pub user_id: OwnedUserId,
    /// "The display name of the user, if one exists."
    pub display_name: Option<String>,
    /// "The avatar url […], if one exists."
    pub avatar_url: Option<OwnedMxcUri>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundUsers {
    /// "Ordered by rank and then whether or not profile info is available."
    pub results: Vec<FoundUser>,
    /// "Indicates if the result list has been truncated by the limit."
    pub limited: bool,
}

impl Rooms {
    /// "Performs a search for users." Each word of the term is the beginning of a word of a user's name or id.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn search_users(
        &self,
        actor: &Actor,
        term: &str,
        limit: usize,
    ) -> Result<FoundUsers> {
        let terms = words::of_term(term);
        let limit = limit.min(MAX_FOUND);
        let searcher = actor.user;
        let all = self.options().policy.search_all_users;
        self.store()
            .read_heavy(move |view| {
                let mut sight = Sight::new(view, searcher, all)?;
                search(view, &terms, limit, &mut sight)
            })
            .await
    }
}

fn search(
    view: &dyn View,
    terms: &[String],
    limit: usize,
    sight: &mut Sight<'_>,
) -> Result<FoundUsers> {
    let (candidates, mut limited) = candidates(view, terms)?;
    let mut results = Vec::new();
    for (_, user) in candidates {
        let Some(sees) = sight.sees(user)? else {
            limited = true;
            break;
        };
        if !sees {
            continue;
        }
        if results.len() >= limit {
            limited = true;
            break;
        }
        let profile = profile::get(view, user)?;
        results.extend(user::id(view, user)?.map(|user_id| FoundUser {
            user_id,
            display_name: profile.displayname,
            avatar_url: profile.avatar_url,
        }));
    }
    Ok(FoundUsers { results, limited })
}

/// The users of whom every term begins a word, those of whom more terms are whole words first; and whether there may be
/// more.
fn candidates(view: &dyn View, terms: &[String]) -> Result<(Vec<(usize, UserNumber)>, bool)> {
    // The longest is the rarest, as a rule.
    let Some(rarest) = terms.iter().max_by_key(|term| term.len()) else {
        return Ok((Vec::new(), false));
    };
    let mut found = BTreeSet::new();
    let mut rows = 0;
    let mut limited = false;
    directory::visit_words(view, rarest, &mut |_, user| {
        rows += 1;
        limited = rows > MAX_ROWS || found.len() >= MAX_CANDIDATES;
        if limited {
            return ControlFlow::Break(());
        }
        found.insert(user);
        ControlFlow::Continue(())
    })?;
    let users: Vec<_> = found.into_iter().collect();
    let mut ranked = Vec::new();
    for chunk in users.chunks(PAGE) {
        for (user, entry) in chunk.iter().zip(directory::entries(view, chunk)?) {
            let words = entry.unwrap_or_default().words;
            let begins = |term: &String| words.iter().any(|word| word.starts_with(term.as_str()));
            if terms.iter().all(begins) {
                let whole = terms.iter().filter(|term| words.contains(term)).count();
                ranked.push((terms.len() - whole, *user));
            }
        }
    }
    ranked.sort_unstable();
    Ok((ranked, limited))
}

/// Whom a user may find: "the homeserver MUST at a minimum consider users who are visible to the requester based on their
/// membership in rooms known to the homeserver".
struct Sight<'a> {
    view: &'a dyn View,
    searcher: UserNumber,
    all: bool,
    joined: HashSet<RoomNumber>,
    /// Memberships that may still be read.
    budget: usize,
}

impl<'a> Sight<'a> {
    fn new(view: &'a dyn View, searcher: UserNumber, all: bool) -> Result<Self> {
        let memberships = membership::by_user_after(view, searcher, None, MAX_MEMBERSHIPS)?;
        let joined = memberships
            .into_iter()
            .filter(|(_, member)| member.membership == Membership::Join)
            .map(|(room, _)| room);
        Ok(Self {
            view,
            searcher,
            all,
            joined: joined.collect(),
            budget: MAX_MEMBERSHIPS,
        })
    }

    /// Whether the searcher may find a user; `None` if looking further would be too much work.
    fn sees(&mut self, user: UserNumber) -> Result<Option<bool>> {
        // Those whose accounts cannot be used are nobody to talk to.
        let account = user::account(self.view, user)?;
        let active = account.is_some_and(|account| !account.deactivated && !account.locked);
        if user == self.searcher || !active {
            return Ok(Some(false));
        }
        // "Users who are joined to rooms known to the homeserver that have a `public` join rule", or "a `world_readable`
        // history visibility".
        if self.all || directory::in_open_room(self.view, user)? {
            return Ok(Some(true));
        }
        self.shares_room(user)
    }

    /// "Users that share a room with the requesting user."
    fn shares_room(&mut self, user: UserNumber) -> Result<Option<bool>> {
        let mut after = None;
        loop {
            let rooms = membership::by_user_after(self.view, user, after, PAGE)?;
            let shared = rooms.iter().any(|(room, member)| {
                member.membership == Membership::Join && self.joined.contains(room)
            });
            if shared {
                return Ok(Some(true));
            }
            let Some((last, _)) = rooms.last() else {
                return Ok(Some(false));
            };
            after = Some(*last);
            let Some(left) = self.budget.checked_sub(rooms.len()) else {
                return Ok(None);
            };
            self.budget = left;
        }
    }
}
