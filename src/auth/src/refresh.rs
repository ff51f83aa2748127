//! `POST /refresh`: a new pair of tokens for an old refresh token.

use storage::{
    Change, Txn,
    token::{Kind, Token, TokenHash},
};

use crate::{Auth, TokenError, Tokens, secret};

/// How many tokens a device has at most. A client that refreshes again and again with one token, and
/// never uses an answer, loses the oldest answers.
const MAX_TOKENS: usize = 16;

impl Auth {
    /// A new pair of tokens for the device of a refresh token.
    ///
    /// > The old refresh token remains valid until the new access token or refresh token is used, at
    /// > which point the old refresh token is revoked.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, TokenError> {
        let hash = secret::hash(refresh_token);
        let row = self
            .inner
            .store
            .read(|view| storage::token::get(view, &hash))?;
        let user = row.ok_or(TokenError::Unknown)?.user;
        let tokens = Tokens::mint(&self.inner.entropy, true);
        let now_ms = self.inner.clock.now_ms();
        self.end(user, |txn| {
            // It may have been used up since it was looked up.
            let old = storage::token::get_guarded(txn, &hash)?
                .filter(|old| old.kind == Kind::Refresh)
                .ok_or(TokenError::Unknown)?;
            let account = storage::user::account_guarded(txn, user)?.ok_or(TokenError::Unknown)?;
            if account.deactivated {
                return Err(TokenError::Unknown);
            }
            if account.locked {
                return Err(TokenError::Locked);
            }
            let mut ended = activate(txn, &hash, &old)?;
            ended.extend(add_pair(txn, &old, &tokens, now_ms)?);
            Ok(ended)
        })
        .await?;
        Ok(tokens)
    }

    /// Notes the first use of an access token that came from a refresh.
    pub(crate) async fn begin_to_use(
        &self,
        hash: &TokenHash,
        token: &Token,
    ) -> storage::Result<()> {
        self.end(token.user, |txn| {
            match storage::token::get_guarded(txn, hash)? {
                Some(token) => activate(txn, hash, &token),
                None => Ok(Vec::new()),
            }
        })
        .await
    }
}

/// Ends every other token of the device but the partner, if this is the first use of a fresh token.
/// Returns those that end.
fn activate(txn: &mut Txn<'_>, hash: &TokenHash, token: &Token) -> storage::Result<Vec<TokenHash>> {
    let device = storage::device::get_guarded(txn, token.user, &token.device_id)?;
    let Some(mut device) = device.filter(|_| token.fresh) else {
        return Ok(Vec::new());
    };
    let stays = |other: &TokenHash| other == hash || Some(*other) == token.partner;
    let (stay, ended) = device.tokens.into_iter().partition(stays);
    device.tokens = stay;
    for hash in &device.tokens {
        if let Some(row) = storage::token::get(txn, hash)? {
            storage::token::put(
                txn,
                hash,
                &Token {
                    fresh: false,
                    ..row
                },
            );
        }
    }
    end_tokens(txn, token, &ended);
    storage::device::put(txn, token.user, &token.device_id, &device);
    Ok(ended)
}

/// Gives the device of a token another pair, to be used later. Returns what ends to make room.
fn add_pair(
    txn: &mut Txn<'_>,
    old: &Token,
    tokens: &Tokens,
    now_ms: u64,
) -> Result<Vec<TokenHash>, TokenError> {
    let device = storage::device::get_guarded(txn, old.user, &old.device_id)?;
    let mut device = device.ok_or(TokenError::Unknown)?;
    let like = Token {
        fresh: true,
        ..old.clone()
    };
    device.tokens.extend(tokens.write(txn, &like, now_ms));
    let surplus = device.tokens.len().saturating_sub(MAX_TOKENS);
    // The pair in use stands in front of those that wait to be used.
    let ended: Vec<_> = device.tokens.drain(2..2 + surplus).collect();
    end_tokens(txn, old, &ended);
    storage::device::put(txn, old.user, &old.device_id, &device);
    Ok(ended)
}

fn end_tokens(txn: &mut Txn<'_>, of: &Token, ended: &[TokenHash]) {
    for hash in ended {
        storage::token::delete(txn, hash);
    }
    if !ended.is_empty() {
        txn.change(Change::Session { user: of.user.0 });
    }
}

#[cfg(test)]
mod tests;
