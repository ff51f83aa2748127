//! What acts for a person: a connection and dice, beside what everybody knows. Each file that needs it adds its acts.

use std::io::Result;

use serde_json::Value;

use crate::{
    dice::Dice,
    ledger::{Ledger, fault},
    session::{Answer, Session},
};

/// The hand of whoever acts.
pub struct Hand<'a> {
    pub ledger: &'a Ledger,
    pub session: &'a mut Session,
    pub dice: &'a mut Dice,
}

impl Hand<'_> {
    /// A request that must succeed.
    pub async fn must(&mut self, token: &str, call: (&str, &str), body: &Value) -> Result<Answer> {
        let answer = self.session.call(token, call, Some(body)).await?;
        match answer.status {
            200 => Ok(answer),
            status => fault(format!("{call:?} {body}: {status} {}", answer.body)),
        }
    }
}
