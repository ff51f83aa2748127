//! "Filter to apply to the results": words and types of rooms.

use storage::directory::Entry;

/// Characters of a search term that are looked for.
const MAX_TERM: usize = 512;

/// What is searched for in the directory.
#[derive(Clone, Debug, Default)]
pub struct DirectoryFilter {
    /// In lower case; `None` if nothing is searched for.
    term: Option<String>,
    /// `None` for all types; in it `None` for rooms without a type.
    room_types: Option<Vec<Option<String>>>,
}

impl DirectoryFilter {
    /// "An optional string to search for in the room metadata, e.g. name, topic, canonical alias, etc." and "an optional
    /// list of room types to search for. To include rooms without a room type, specify `null` within this list."
    pub fn new(term: Option<&str>, room_types: Option<Vec<Option<String>>>) -> Self {
        let term = term.map(str::trim).filter(|term| !term.is_empty());
        Self {
            term: term.map(|term| {
                let term: String = term.chars().take(MAX_TERM).collect();
                term.to_lowercase()
            }),
            room_types,
        }
    }

    /// Whether it leaves nothing out.
    pub(super) fn allows_all(&self) -> bool {
        self.term.is_none() && self.room_types.is_none()
    }

    /// Whether an entry is told.
    pub(super) fn allows(&self, entry: &Entry) -> bool {
        let types = self.room_types.as_ref();
        types.is_none_or(|types| types.contains(&entry.room_type)) && self.finds(entry)
    }

    fn finds(&self, entry: &Entry) -> bool {
        let Some(term) = &self.term else {
            return true;
        };
        [&entry.name, &entry.topic, &entry.canonical_alias]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(term))
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::owned_room_id;
    use storage::directory::Entry;

    use super::DirectoryFilter;

    #[test]
    fn words_are_found_in_any_case() {
        let mut entry = Entry {
            room_id: owned_room_id!("!a:x"),
            name: Some("Österreich".to_owned()),
            topic: Some("Wombles and more".to_owned()),
            canonical_alias: Some("#berge:x".to_owned()),
            avatar_url: None,
            join_rule: "public".to_owned(),
            room_type: None,
            world_readable: false,
            guest_can_join: false,
        };
        let finds = |entry: &Entry, term| DirectoryFilter::new(Some(term), None).allows(entry);
        for term in ["österr", "WOMBLES", " and ", "#Berge:X", "", "  "] {
            assert!(finds(&entry, term), "{term}");
        }
        for term in ["and  more", "%", "a_d", "!a:x"] {
            assert!(!finds(&entry, term), "{term}");
        }
        let of_types = |entry: &Entry, types: &[Option<&str>]| {
            let types = types.iter().map(|name| name.map(str::to_owned)).collect();
            DirectoryFilter::new(None, Some(types)).allows(entry)
        };
        assert!(of_types(&entry, &[Some("m.space"), None]));
        assert!(!of_types(&entry, &[Some("m.space")]));
        entry.room_type = Some("m.space".to_owned());
        assert!(of_types(&entry, &[Some("m.space")]));
        assert!(!of_types(&entry, &[None]));
        let long = "ö".repeat(5000);
        assert!(!finds(&entry, &long));
    }
}
