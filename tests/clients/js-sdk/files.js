// Files as clients make and show them: a picture, and requests with the access token of a person.

import { crc32, deflateSync } from "node:zlib";
import { Attachment, EncryptedAttachment } from "@matrix-org/matrix-sdk-crypto-wasm";

// A PNG of one colour.
export function picture(width, height, colour) {
    const chunk = (type, data) => {
        const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
        const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
        length.writeUInt32BE(data.length);
        sum.writeUInt32BE(crc32(body));
        return Buffer.concat([length, body, sum]);
    };
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 2, 0, 0, 0], 8);
    const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(width * 3, Buffer.from(colour))]);
    const rows = Buffer.concat(Array.from({ length: height }, () => row));
    return Buffer.concat([
        Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
        chunk("IHDR", header),
        chunk("IDAT", deflateSync(rows)),
        chunk("IEND", Buffer.alloc(0)),
    ]);
}

export async function upload(person, bytes, type, name) {
    const { content_uri: uri } = await person.client.uploadContent(new Blob([bytes], { type }), { name, type });
    return uri;
}

// What a client shows: the answer of the authenticated endpoint, or of its thumbnails if a size is asked for.
export async function show(person, uri, ...size) {
    const url = person.client.mxcUrlToHttp(uri, size[0], size[1], size[2], false, true, true);
    return fetch(url, { headers: { authorization: `Bearer ${person.login.access_token}` } });
}

export async function bytesOf(answer) {
    return Buffer.from(await answer.arrayBuffer());
}

// A file that only those read who have its `EncryptedFile`, which is returned. The SDK must have begun with encryption.
export async function uploadEncrypted(person, bytes) {
    const encrypted = Attachment.encrypt(bytes);
    const url = await upload(person, encrypted.encryptedData, "application/octet-stream");
    return { url, ...JSON.parse(encrypted.mediaEncryptionInfo) };
}

// What is stored of it, and what it is.
export async function showEncrypted(person, { url, ...info }) {
    const stored = await bytesOf(await show(person, url));
    return [stored, Buffer.from(Attachment.decrypt(new EncryptedAttachment(stored, JSON.stringify(info))))];
}

// The content of a voice message, as Element makes it.
export function voiceMessage(file, size) {
    const duration = 4_200;
    return {
        "msgtype": "m.audio",
        "body": "Voice message.ogg",
        file,
        "info": { mimetype: "audio/ogg", size, duration },
        "org.matrix.msc1767.text": "Voice message",
        "org.matrix.msc1767.file": { file, name: "Voice message.ogg", mimetype: "audio/ogg", size },
        "org.matrix.msc1767.audio": { duration, waveform: [0, 256, 1_024, 512, 3] },
        "org.matrix.msc3245.voice": {},
    };
}
