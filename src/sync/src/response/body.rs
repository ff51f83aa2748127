//! An answer as it is sent: a large one room by room, so that it is in memory once and goes away while it is read.

use std::collections::BTreeMap;

use bytes::Bytes;
use ruma_common::OwnedRoomId;
use serde::Serialize;

use super::{Answer, Sections};

/// With more rooms than this, an answer is written in pieces.
const FEW_ROOMS: usize = 32;

/// About the size of a piece.
const PIECE: usize = 64 << 10;

/// What an answer without rooms has in their place.
const NO_ROOMS: &str = r#""rooms":{"join":{},"invite":{},"knock":{},"leave":{}}"#;

/// What begins the rooms, what ends each section and begins the next, and what ends them.
const BEGIN: &str = r#""rooms":{"join":{"#;
const ENDS: [&str; 4] = [r#"},"invite":{"#, r#"},"knock":{"#, r#"},"leave":{"#, "}}"];

/// The JSON of an answer.
#[derive(Debug)]
pub enum Body {
    /// In one piece.
    Whole(Bytes),
    /// To be written while it is sent.
    Pieces(Box<Pieces>),
}

/// The pieces of a large answer.
#[derive(Debug)]
pub struct Pieces {
    rooms: Sections,
    /// In the order of [`ENDS`].
    section: usize,
    is_first: bool,
    /// What is written before the next room.
    before: Vec<u8>,
    /// What is written behind the last one.
    behind: Vec<u8>,
}

impl Answer {
    /// As it is sent.
    pub(crate) fn into_body(mut self) -> Body {
        let rooms = &self.rooms;
        let count = rooms.join.len() + rooms.invite.len() + rooms.knock.len() + rooms.leave.len();
        if count <= FEW_ROOMS {
            return Body::Whole(self.to_bytes());
        }
        let rooms = std::mem::take(&mut self.rooms);
        let text = serde_json::to_string(&self);
        let text = text.expect("numbers, strings and JSON that was checked before serialise");
        let (before, behind) = text
            .split_once(NO_ROOMS)
            .expect("an answer without rooms has four empty sections");
        Body::Pieces(Box::new(Pieces {
            rooms,
            section: 0,
            is_first: true,
            before: [before, BEGIN].concat().into_bytes(),
            behind: behind.as_bytes().to_vec(),
        }))
    }
}

impl Body {
    /// All of it at once.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Pieces(pieces) => pieces.collect::<Vec<_>>().concat().into(),
        }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = std::mem::take(&mut self.before);
        while piece.len() < PIECE {
            let rooms = &mut self.rooms;
            let is_written = match self.section {
                0 => write(&mut piece, &mut self.is_first, &mut rooms.join),
                1 => write(&mut piece, &mut self.is_first, &mut rooms.invite),
                2 => write(&mut piece, &mut self.is_first, &mut rooms.knock),
                3 => write(&mut piece, &mut self.is_first, &mut rooms.leave),
                _ => break,
            };
            if is_written {
                continue;
            }
            let end = ENDS.get(self.section).copied().unwrap_or_default();
            piece.extend_from_slice(end.as_bytes());
            self.section += 1;
            self.is_first = true;
            if self.section == ENDS.len() {
                piece.append(&mut self.behind);
            }
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}

/// Writes the next room of a section; false if there is none.
fn write<T: Serialize>(
    piece: &mut Vec<u8>,
    is_first: &mut bool,
    rooms: &mut BTreeMap<OwnedRoomId, T>,
) -> bool {
    let Some((room_id, room)) = rooms.pop_first() else {
        return false;
    };
    if !std::mem::take(is_first) {
        piece.push(b',');
    }
    let written = serde_json::to_writer(&mut *piece, &room_id).and_then(|()| {
        piece.push(b':');
        serde_json::to_writer(&mut *piece, &room)
    });
    written.expect("numbers, strings and JSON that was checked before serialise");
    true
}

#[cfg(test)]
mod tests {
    use ruma_common::OwnedRoomId;
    use serde_json::value::RawValue;

    use super::{Answer, Body, FEW_ROOMS, PIECE};
    use crate::response::{InvitedRoom, KnockedRoom, Room, Stripped};

    fn stripped(bytes: usize) -> Stripped {
        let events = format!(r#"[{{"a":"{}"}}]"#, "x".repeat(bytes));
        Stripped {
            events: RawValue::from_string(events).unwrap(),
        }
    }

    fn answer(rooms: usize, bytes: usize) -> Answer {
        let mut answer = Answer {
            next_batch: "s1".to_owned(),
            ..Answer::default()
        };
        for number in 0..rooms {
            let room_id = OwnedRoomId::try_from(format!("!{number}:x")).unwrap();
            let room = match number % 3 {
                0 => Room::Knocked(KnockedRoom {
                    knock_state: stripped(bytes),
                }),
                _ => Room::Invited(InvitedRoom {
                    invite_state: stripped(bytes),
                }),
            };
            answer.rooms.insert(room_id, room);
        }
        answer
    }

    #[test]
    fn the_pieces_of_an_answer_are_the_answer() {
        for (rooms, bytes) in [(0, 0), (FEW_ROOMS, 9), (FEW_ROOMS + 1, 9), (200, 3000)] {
            let whole = answer(rooms, bytes).to_bytes();
            let body = answer(rooms, bytes).into_body();
            assert_eq!(matches!(body, Body::Whole(_)), rooms <= FEW_ROOMS);
            assert_eq!(body.into_bytes(), whole, "{rooms} {bytes}");
        }
    }

    #[test]
    fn no_piece_is_much_larger_than_another() {
        let Body::Pieces(pieces) = answer(500, 3000).into_body() else {
            panic!("there are many rooms");
        };
        let sizes: Vec<_> = pieces.map(|piece| piece.len()).collect();
        assert!(sizes.len() > 20);
        assert!(sizes.iter().all(|size| *size < PIECE + 4000));
    }
}
