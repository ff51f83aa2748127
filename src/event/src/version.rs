//! Room versions as flags. The only file of the house that names version numbers.
//!
//! Versions 1 to 5 are not offered: their events may hold numbers that canonical JSON forbids, and version 1
//! resolves state by an algorithm of its own. This file is the seam: a version becomes known to the whole house
//! by a row in [`TABLE`]; [`crate::json`] (loose numbers), [`crate::format`] (chosen event ids, reference pairs) and
//! [`crate::state_res`] (algorithm 1) are where such a row would need more than flags.

use std::fmt;

use ruma_common::{
    RoomVersionId,
    room_version_rules::{
        AuthorizationRules, EventFormatRules, RedactionRules, RoomIdFormatVersion,
        RoomVersionRules, SignaturesRules, StateResolutionV2Rules,
    },
};

/// A room version this server can take part in. One pointer wide: pass it by value.
#[derive(Clone, Copy)]
pub struct RoomVersion(&'static Entry);

struct Entry {
    id: RoomVersionId,
    rules: RoomVersionRules,
    strict_id_bytes: bool,
}

static TABLE: [Entry; 7] = [
    entry(RoomVersionId::V6, RoomVersionRules::V6, false),
    entry(RoomVersionId::V7, RoomVersionRules::V7, false),
    entry(RoomVersionId::V8, RoomVersionRules::V8, false),
    entry(RoomVersionId::V9, RoomVersionRules::V9, false),
    entry(RoomVersionId::V10, RoomVersionRules::V10, false),
    entry(RoomVersionId::V11, RoomVersionRules::V11, true),
    entry(RoomVersionId::V12, RoomVersionRules::V12, true),
];

const fn entry(id: RoomVersionId, rules: RoomVersionRules, strict_id_bytes: bool) -> Entry {
    Entry {
        id,
        rules,
        strict_id_bytes,
    }
}

/// The versions this server creates and joins, oldest first.
pub const SUPPORTED: [RoomVersionId; 7] = [
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

/// The version of a new room whose creator names none.
pub const DEFAULT: RoomVersionId = RoomVersionId::V12;

impl RoomVersion {
    /// The rules of `id`, or `None` if this server cannot take part in such rooms.
    pub fn from_id(id: &RoomVersionId) -> Option<Self> {
        TABLE.iter().find(|entry| entry.id == *id).map(Self)
    }

    /// All versions of [`SUPPORTED`], oldest first.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(Self)
    }

    /// The identifier, as it stands in `m.room.create`.
    pub fn id(self) -> &'static RoomVersionId {
        &self.0.id
    }

    /// All rules, as ruma's functions take them.
    pub fn rules(self) -> &'static RoomVersionRules {
        &self.0.rules
    }

    /// The flags of the authorisation rules.
    pub fn authorization(self) -> &'static AuthorizationRules {
        &self.0.rules.authorization
    }

    /// The flags of the redaction algorithm.
    pub fn redaction(self) -> &'static RedactionRules {
        &self.0.rules.redaction
    }

    /// Whose signatures an event needs.
    pub fn signatures(self) -> &'static SignaturesRules {
        &self.0.rules.signatures
    }

    /// The flags of the event format.
    pub fn event_format(self) -> &'static EventFormatRules {
        &self.0.rules.event_format
    }

    /// The flags of state resolution version 2, or `None` for version 1 of the algorithm.
    pub fn state_resolution(self) -> Option<&'static StateResolutionV2Rules> {
        self.0.rules.state_res.v2_rules()
    }

    /// Whether a key must have been valid at the event's `origin_server_ts` for its signature to count.
    pub fn enforce_key_validity(self) -> bool {
        self.0.rules.enforce_key_validity
    }

    /// Whether the room id is the create event's id with another sigil, and create events have no `room_id`.
    pub fn room_id_is_create_hash(self) -> bool {
        self.0.rules.room_id_format == RoomIdFormatVersion::V2
    }

    /// Whether a redaction names its target in `content.redacts` and not at the top level.
    pub fn redacts_in_content(self) -> bool {
        self.0.rules.redaction.content_field_redacts
    }

    /// Whether 255 bytes is the hard limit of ids and keys. Before, events of up to 255 *code points* exist in
    /// rooms and have to be kept, as rejected events, so that their descendants connect.
    pub fn strict_id_bytes(self) -> bool {
        self.0.strict_id_bytes
    }
}

impl PartialEq for RoomVersion {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for RoomVersion {}

impl fmt::Debug for RoomVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RoomVersion({})", self.0.id)
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, RoomVersion, RoomVersionId, SUPPORTED};

    #[test]
    fn every_supported_version_is_in_the_table() {
        for id in &SUPPORTED {
            assert_eq!(RoomVersion::from_id(id).map(RoomVersion::id), Some(id));
        }
        assert_eq!(RoomVersion::all().count(), SUPPORTED.len());
        assert!(RoomVersion::from_id(&DEFAULT).is_some());
    }

    #[test]
    fn other_versions_are_unknown() {
        for id in ["1", "2", "3", "4", "5", "13", "org.example.custom"] {
            assert_eq!(
                RoomVersion::from_id(&RoomVersionId::try_from(id).unwrap()),
                None
            );
        }
    }

    /// One column per flag, one row per version: features.md, section 20.
    #[test]
    fn flags_by_version() {
        let first = |flag: fn(RoomVersion) -> bool| {
            RoomVersion::all()
                .find(|version| flag(*version))
                .map(|version| version.id().clone())
        };
        assert_eq!(
            first(|v| v.authorization().knocking),
            Some(RoomVersionId::V7)
        );
        assert_eq!(
            first(|v| v.authorization().restricted_join_rule),
            Some(RoomVersionId::V8)
        );
        assert_eq!(
            first(|v| v
                .redaction()
                .keep_room_member_join_authorised_via_users_server),
            Some(RoomVersionId::V9)
        );
        assert_eq!(
            first(|v| v.authorization().integer_power_levels),
            Some(RoomVersionId::V10)
        );
        assert_eq!(
            first(RoomVersion::redacts_in_content),
            Some(RoomVersionId::V11)
        );
        assert_eq!(
            first(RoomVersion::strict_id_bytes),
            Some(RoomVersionId::V11)
        );
        assert_eq!(
            first(RoomVersion::room_id_is_create_hash),
            Some(RoomVersionId::V12)
        );
        assert_eq!(
            first(|v| v
                .state_resolution()
                .is_some_and(|r| r.consider_conflicted_state_subgraph)),
            Some(RoomVersionId::V12)
        );
        assert!(RoomVersion::all().all(RoomVersion::enforce_key_validity));
    }
}
