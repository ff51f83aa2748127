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

/// The sections of rooms.
const SECTIONS: usize = 4;

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
    /// Written, and not sent yet.
    piece: Vec<u8>,
    /// The number of the section whose rooms are written.
    section: usize,
    place: Place,
}

/// Where in the sections the next room would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the first section that has any.
    First,
    /// In a section that is not begun, behind another.
    Between,
    /// Behind another room of its section.
    Within,
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
        let mut piece = self.to_bytes().to_vec();
        // The object goes on.
        piece.pop();
        piece.extend_from_slice(br#","rooms":{"#);
        Body::Pieces(Box::new(Pieces {
            rooms,
            piece,
            section: 0,
            place: Place::First,
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
        while self.piece.len() < PIECE {
            let (piece, place, rooms) = (&mut self.piece, &mut self.place, &mut self.rooms);
            let is_written = match self.section {
                0 => write(piece, place, ("join", &mut rooms.join)),
                1 => write(piece, place, ("invite", &mut rooms.invite)),
                2 => write(piece, place, ("knock", &mut rooms.knock)),
                3 => write(piece, place, ("leave", &mut rooms.leave)),
                _ => break,
            };
            if is_written {
                continue;
            }
            if *place == Place::Within {
                piece.push(b'}');
                *place = Place::Between;
            }
            self.section += 1;
            if self.section == SECTIONS {
                piece.extend_from_slice(b"}}");
            }
        }
        let piece = std::mem::take(&mut self.piece);
        (!piece.is_empty()).then(|| piece.into())
    }
}

/// Writes the next room of a section; false if there is none.
fn write<T: Serialize>(
    piece: &mut Vec<u8>,
    place: &mut Place,
    (name, rooms): (&str, &mut BTreeMap<OwnedRoomId, T>),
) -> bool {
    let Some((room_id, room)) = rooms.pop_first() else {
        return false;
    };
    if *place != Place::First {
        piece.push(b',');
    }
    if *place != Place::Within {
        piece.extend_from_slice(format!(r#""{name}":{{"#).as_bytes());
    }
    *place = Place::Within;
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
