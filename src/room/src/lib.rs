//! Floor 3: rooms. The event graph, the state it leads to, and the only way in which an event enters: under the
//! room's lock, with a verdict, in one batch. What users do in rooms, and what of rooms they are shown.

mod actor;
mod alias;
mod auth_graph;
mod authorize;
mod charge;
mod client_event;
mod create;
mod departure;
mod directory;
mod error;
mod filter;
mod hierarchy;
mod ignored;
mod invite_permission;
mod learn;
mod lock;
mod lookup;
mod members;
mod membership;
mod mutual;
mod named_state;
mod notification;
mod original;
mod own;
mod persist;
mod profile;
mod reader_cache;
mod reads;
mod receipt;
mod redact;
mod relation;
mod report;
mod room_txn;
mod rooms;
mod send;
mod server_notices;
mod state;
mod state_read;
mod successor;
mod summary;
mod sweep;
mod timeline;
mod upgrade;
mod user_directory;
mod viewer;
mod visibility;

#[cfg(test)]
mod act_tests;

pub use self::{
    actor::Actor,
    alias::AliasError,
    authorize::{Arrival, AuthorizedPdu, Judgement, Verdict},
    client_event::{Form, stripped},
    create::{CreateRoom, InitialState, Preset, Visibility},
    directory::{
        DirectoryFilter, DirectoryPage, DirectoryRequest, DirectoryToken, PublishedRoom,
        RoomSummary, UnknownDirectoryToken,
    },
    error::{ActError, CreateError, ReadError},
    filter::{EventFilter, RelationFilter},
    hierarchy::{
        HierarchyPage, HierarchyRequest, HierarchyRoom, HierarchyToken, UnknownHierarchyToken,
    },
    invite_permission::{Invitation, InvitePermission},
    lock::{LockedRoom, StateEvent, Tip},
    members::{JoinedMember, MembersRequest},
    membership::{JoinRoom, Removal},
    mutual::{MutualRooms, MutualRoomsToken, UnknownMutualRoomsToken},
    named_state::{NamedState, Place},
    notification::{
        Notification, NotificationsPage, NotificationsRequest, Notified, Pushed, UnreadCount,
        UnreadCounts,
    },
    persist::{Extras, Persisted},
    receipt::{ReadMarkers, ReceiptThread, SentReceipt},
    redact::Redact,
    relation::{RelationsPage, RelationsRequest, ThreadsPage, ThreadsRequest},
    room_txn::RoomTxn,
    rooms::{Options, Policy, Rooms},
    send::{SendMessage, SendState},
    server_notices::{Notice, NoticeError, Notices},
    state_read::StateFormat,
    summary::{Summary, summary},
    timeline::{Context, Direction, MessagesRequest, Page, PageToken, UnknownToken},
    upgrade::UpgradeRoom,
    user_directory::{FoundUser, FoundUsers},
    viewer::Viewer,
    visibility::HistoryVisibility,
};

#[cfg(test)]
mod tests;
