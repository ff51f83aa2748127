//! The local members of a room whose push rules are not the defaults, kept in memory with its lock: for which events each
//! must be asked. An event that interests none of them costs the same however many they are.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use aho_corasick::AhoCorasick;
use event::push::{Context, Kind, Traits, UserRules};
use ruma_common::{OwnedUserId, RoomId, UserId};
use storage::{
    Result, membership as members,
    membership::Membership,
    unread::{Class, Mode, mode},
    user::{self, UserNumber},
};

use super::own_rules::{OwnRules, Said, Special};
use crate::room_txn::RoomTxn;

/// Local members that are read at once.
const PAGE: usize = 10_000;

/// So many users whose rules have changed are looked at one by one; beyond, all members are.
const MAX_CHANGED: usize = 1_000;

/// The members with rules of their own.
#[derive(Default)]
pub(crate) struct Readers {
    /// The newest change of rules that is known here.
    seen: u64,
    by_user: HashMap<UserNumber, OwnReader>,
    /// Whose member event was replaced.
    stale: BTreeSet<String>,
    index: Option<Index>,
}

/// One of them.
pub(super) struct OwnReader {
    pub(super) user_id: OwnedUserId,
    pub(super) said: Arc<Said>,
    /// What classes mean by the rules.
    pub(super) mode: Mode,
    /// What they mean by what is written.
    recorded: Mode,
}

/// Who is interested in what.
struct Index {
    words: Option<AhoCorasick>,
    bearers: Vec<Vec<UserNumber>>,
    senders: HashMap<OwnedUserId, Vec<UserNumber>>,
    always: Vec<UserNumber>,
    silent: Vec<UserNumber>,
}

impl Readers {
    /// A member event of this user was replaced.
    pub(crate) fn forget(&mut self, user_id: &str) {
        self.stale.insert(user_id.to_owned());
    }

    /// What classes mean to a user has been written.
    pub(crate) fn recorded(&mut self, user: UserNumber, mode: Mode) {
        if let Some(reader) = self.by_user.get_mut(&user) {
            reader.recorded = mode;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }

    pub(super) fn get(&self, user: UserNumber) -> Option<&OwnReader> {
        self.by_user.get(&user)
    }

    /// Those for whom the classes mean something else from now on than is written.
    pub(super) fn unrecorded(&self) -> Vec<(UserNumber, Mode)> {
        let changed = |(_, reader): &(&UserNumber, &OwnReader)| reader.mode != reader.recorded;
        let readers = self.by_user.iter().filter(changed);
        readers.map(|(user, reader)| (*user, reader.mode)).collect()
    }

    /// Those whose rules must be asked about an event.
    pub(super) fn asked(
        &self,
        context: &Context<'_>,
        special: Special,
        mentioned: &BTreeSet<UserNumber>,
    ) -> BTreeSet<UserNumber> {
        let Some(index) = self.index.as_ref().filter(|_| special != Special::Everyone) else {
            return self.by_user.keys().copied().collect();
        };
        let mut asked: BTreeSet<_> = index.always.iter().copied().collect();
        asked.extend(
            mentioned
                .iter()
                .filter(|user| self.by_user.contains_key(user)),
        );
        asked.extend(
            index
                .senders
                .get(context.pdu.sender())
                .into_iter()
                .flatten(),
        );
        if special == Special::Silent {
            asked.extend(&index.silent);
        }
        if let Some(words) = &index.words {
            context.with_body(|body| {
                for found in words.find_overlapping_iter(body) {
                    asked.extend(
                        index
                            .bearers
                            .get(found.pattern().as_usize())
                            .into_iter()
                            .flatten(),
                    );
                }
            });
        }
        asked
    }

    fn set(&mut self, user: UserNumber, reader: Option<OwnReader>) {
        let changed = reader.is_some() || self.by_user.contains_key(&user);
        match reader {
            Some(reader) => drop(self.by_user.insert(user, reader)),
            None => drop(self.by_user.remove(&user)),
        }
        if changed {
            self.index = None;
        }
    }
}

impl Index {
    fn new(by_user: &HashMap<UserNumber, OwnReader>, room_id: &RoomId) -> Self {
        let mut index = Self {
            words: None,
            bearers: Vec::new(),
            senders: HashMap::new(),
            always: Vec::new(),
            silent: Vec::new(),
        };
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut words = Vec::new();
        for (user, reader) in by_user {
            let interest = reader.said.rules.interest(room_id);
            for word in interest.words {
                let place = *places.entry(word).or_insert_with(|| {
                    words.push(word);
                    index.bearers.push(Vec::new());
                    words.len() - 1
                });
                if let Some(bearers) = index.bearers.get_mut(place) {
                    bearers.push(*user);
                }
            }
            let ignored = reader.said.ignored.iter().map(|user_id| &**user_id);
            for sender in interest.senders.into_iter().chain(ignored) {
                index
                    .senders
                    .entry(sender.to_owned())
                    .or_default()
                    .push(*user);
            }
            if interest.always {
                index.always.push(*user);
            }
            if interest.silent {
                index.silent.push(*user);
            }
        }
        if !words.is_empty() {
            match AhoCorasick::new(&words) {
                Ok(found) => index.words = Some(found),
                // More words than a matcher can hold: their bearers are asked one by one.
                Err(_) => index.always.extend(index.bearers.iter().flatten()),
            }
        }
        index
    }
}

/// What the classes of events mean by the rules of a user.
fn mode_of(rules: &UserRules, room_id: &RoomId) -> Mode {
    Class::ALL.into_iter().fold(Mode::SILENT, |mode, class| {
        let (kind, one_to_one) = match class {
            Class::Message | Class::Everybody => (Kind::Message, false),
            Class::OneToOne => (Kind::Message, true),
            Class::Encrypted => (Kind::Encrypted, false),
            Class::OneToOneEncrypted => (Kind::Encrypted, true),
        };
        let traits = Traits {
            kind,
            room: class == Class::Everybody,
            ..Traits::default()
        };
        let outcome = rules.plain(room_id, &traits, one_to_one);
        mode.with(class, outcome.notify, outcome.highlight)
    })
}

impl RoomTxn<'_, '_> {
    /// The members with rules of their own, as they are now. To be put back.
    pub(super) fn take_readers(&self) -> Result<Readers> {
        let kept = self.cells.borrow_mut().readers.take();
        let changes = self.rooms.store.rule_changes();
        let mut readers = kept.unwrap_or_default();
        let fresh = readers.seen == 0;
        if !fresh && readers.stale.is_empty() && readers.seen == changes.last() + 1 {
            return Ok(readers);
        }
        let now = changes.last();
        let changed = match fresh {
            true => None,
            false => changes
                .since(readers.seen - 1)
                .filter(|changed| changed.len() <= MAX_CHANGED),
        };
        let stale = std::mem::take(&mut readers.stale);
        match changed {
            Some(changed) => self.refresh_readers(&mut readers, changed, stale)?,
            None => readers = self.load_readers()?,
        }
        // Numbered from 1, so that 0 means that nothing was read.
        readers.seen = now + 1;
        if readers.index.is_none() {
            readers.index = Some(Index::new(&readers.by_user, &self.head.room_id));
        }
        Ok(readers)
    }

    fn load_readers(&self) -> Result<Readers> {
        let mut readers = Readers::default();
        let modes: HashMap<_, _> = mode::list(self.txn, self.number)?.into_iter().collect();
        let mut after = None;
        loop {
            let users = members::local_joined(self.txn, self.number, after, PAGE)?;
            let Some(last) = users.last() else {
                return Ok(readers);
            };
            after = Some(*last);
            let named = self.with_ids(users)?;
            let rules = self.rooms.own_rules(self.txn, &named)?;
            for ((user, user_id), rules) in named.into_iter().zip(rules) {
                let recorded = modes.get(&user).copied().unwrap_or_default();
                let reader = self.reader(user_id, rules, recorded);
                readers.set(user, reader);
            }
        }
    }

    /// Looks again at those whose rules or membership have changed.
    fn refresh_readers(
        &self,
        readers: &mut Readers,
        changed: Vec<UserNumber>,
        stale: BTreeSet<String>,
    ) -> Result<()> {
        let mut users: BTreeSet<_> = changed.into_iter().collect();
        for user_id in stale {
            let local = <&UserId>::try_from(user_id.as_str())
                .ok()
                .filter(|user_id| *user_id.server_name() == self.rooms.options.server_name);
            if let Some(user_id) = local {
                users.extend(user::number(self.txn, user_id)?);
            }
        }
        let users: Vec<_> = users.into_iter().collect();
        let memberships = members::of_many(self.txn, self.number, &users)?;
        let mut joined = Vec::new();
        for (user, member) in users.into_iter().zip(memberships) {
            if member.is_some_and(|member| member.membership == Membership::Join) {
                joined.push(user);
            } else {
                readers.set(user, None);
            }
        }
        let named = self.with_ids(joined)?;
        let rules = self.rooms.own_rules(self.txn, &named)?;
        for ((user, user_id), rules) in named.into_iter().zip(rules) {
            let recorded = mode::current(self.txn, self.number, user)?;
            let reader = self.reader(user_id, rules, recorded);
            readers.set(user, reader);
        }
        Ok(())
    }

    fn with_ids(&self, users: Vec<UserNumber>) -> Result<Vec<(UserNumber, OwnedUserId)>> {
        let ids = user::ids(self.txn, &users)?;
        let named = users.into_iter().zip(ids);
        Ok(named.filter_map(|(user, id)| Some((user, id?))).collect())
    }

    /// A member, if there is anything to remember of them: rules of their own, or something written that must be undone.
    fn reader(&self, user_id: OwnedUserId, rules: OwnRules, recorded: Mode) -> Option<OwnReader> {
        let said = match rules.said {
            Some(said) => said,
            None if recorded == Mode::default() => return None,
            None => Arc::new(Said {
                rules: UserRules::defaults(),
                ignored: Default::default(),
            }),
        };
        Some(OwnReader {
            mode: mode_of(&said.rules, &self.head.room_id),
            user_id,
            said,
            recorded,
        })
    }
}
