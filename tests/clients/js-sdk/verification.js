// Two devices that compare emoji.

import { VerificationPhase, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/verification.js";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/CryptoEvent.js";

// `ask` makes the request on the device of `one`; `other` accepts it, and both find that they see the same.
export async function verifyEachOther(one, other, ask) {
    const asked = new Promise((resolve) => other.client.once(CryptoEvent.VerificationRequestReceived, resolve));
    const request = await ask();
    const incoming = await asked;
    await incoming.accept();
    await one.until("the acceptance", () => request.phase === VerificationPhase.Ready);
    const seen = [];
    const compare = (sas) => {
        seen.push({ emoji: JSON.stringify(sas.sas.emoji), sas });
        if (seen.length < 2) return;
        for (const { emoji, sas } of seen) {
            if (emoji === seen[0].emoji) sas.confirm();
            else sas.mismatch();
        }
    };
    const verifier = await request.startVerification("m.sas.v1");
    verifier.once(VerifierEvent.ShowSas, compare);
    const mine = verifier.verify();
    const theirs = await other.until("the start", () => incoming.verifier);
    theirs.once(VerifierEvent.ShowSas, compare);
    await Promise.all([mine, theirs.verify()]);
    await one.until("the end", () => request.phase === VerificationPhase.Done);
}
