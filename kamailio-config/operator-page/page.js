// The page of an operator. Whatever comes from a peer is written as text (textContent), never as markup.
"use strict";

const PAUSE_MS = 1000;
// Messages of a list that does not say how many.
const MOST_MESSAGES = 100;
// Sessions on the page, and those of them whose legs are asked for each time.
const MOST_SESSIONS = 100;
const MOST_WITH_LEGS = 20;
// Counters and gauges, with what the page calls them.
const TOTALS = [["requests", "requests"], ["accepted", "accepted"], ["refused", "refused"], ["recipients", "recipients"],
    ["delivered", "delivered"], ["failed", "failed"], ["interworked", "interworked"], ["outstanding", "in the store"],
    ["express_outstanding", "in the express lane"], ["sessions", "sessions"], ["msrp_connections", "MSRP connections"],
    ["msrp_memory", "content in memory"], ["msrp_spool", "content in the spool"], ["msrp_held_back", "held back"]];
const BYTES = new Set(["msrp_memory", "msrp_spool"]);
const find = (selector, inside = document) => inside.querySelector(selector);
// Where the commands go. With data-password each takes the password of the operator, for a proxy whose HTTP asks for none.
const { rpc, password: asksPassword } = document.documentElement.dataset;
let password = null;
let shown = null;
let config = null;
// Messages before those of the table, which are on newer pages.
let skipped = 0;

// What the proxy answers to a command. Throws an Error with the reason if it refuses.
async function ask(command, ...words) {
    const answer = await fetch(new URL(rpc, location.origin + location.pathname), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        // The order and form that operator-page.cfg takes.
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "cpm." + command, params: words,
            ...(asksPassword !== undefined && { password }) }),
    });
    if (answer.status === 401 && asksPassword !== undefined) {
        signIn(true);
        throw new Error("the password is wrong");
    }
    const text = await answer.text();
    let read;
    try {
        read = JSON.parse(text);
    } catch {
        throw new Error(answer.ok ? "the answer cannot be read" : answer.status + " " + answer.statusText);
    }
    if (read.error) throw new Error(read.error.message);
    return read.result;
}

// Kamailio writes one record as an object, and several as an array.
const list = (answer) => !answer ? [] : Array.isArray(answer) ? answer : [answer];

function element(name, text, style) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (style) made.className = style;
    return made;
}

function write(node, text) {
    if (node.textContent !== String(text)) node.textContent = text;
}

// Keeps one child for each record, in their order: made once, then only changed.
function keep(parent, records, key, make, change) {
    const old = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
    let place = parent.firstElementChild;
    for (const record of records) {
        const name = String(key(record));
        let child = old.get(name);
        old.delete(name);
        if (!child) {
            child = make(record);
            child.dataset.key = name;
        }
        if (child === place) place = place.nextElementSibling;
        else parent.insertBefore(child, place);
        change(child, record);
    }
    for (const child of old.values()) child.remove();
}

function bytes(number) {
    const units = ["B", "KiB", "MiB", "GiB"];
    let unit = 0;
    while (number >= 1024 && unit < units.length - 1) {
        number /= 1024;
        unit += 1;
    }
    return (unit ? number.toFixed(1) : number) + " " + units[unit];
}

// Of seconds with three decimals.
function age(seconds) {
    const whole = Math.floor(seconds);
    if (whole < 60) return whole + " s";
    return whole < 3600 ? Math.floor(whole / 60) + " min" : (whole / 3600).toFixed(1) + " h";
}

function percent(part, whole) {
    return whole > 0 ? Math.floor(100 * part / whole) : 0;
}

// What a recipient has been sent, acknowledged or not.
const sent = (leg) => Math.max(leg.written, leg.delivered);

function style(state) {
    return state === "failed" ? "bad" : state === "delivered" ? "good" : "";
}

function drawTotals(stats) {
    keep(find("#totals"), TOTALS.filter(([name]) => name in stats), ([name]) => name, ([, label]) => {
        const box = element("div");
        box.append(element("b"), element("span", label));
        return box;
    }, (box, [name]) => write(find("b", box), BYTES.has(name) ? bytes(stats[name]) : stats[name]));
}

function makeSession(session) {
    const box = element("article");
    const head = element("h3");
    const end = element("button", "End");
    end.type = "button";
    end.addEventListener("click", () => confirmEnd(session.id));
    head.append(element("code", session.id), end);
    box.append(head, element("p", "", "about"), element("div", "", "legs"));
    return box;
}

function changeSession(box, session) {
    const all = session.total ? " of " + bytes(session.total) : "";
    write(find(".about", box), [session.state, session.kind, "Call-ID " + session.call_id, age(session.seconds),
        "received " + bytes(session.received) + all,
        session.delivered + " delivered, " + session.failed + " failed of " + session.recipients].join(" · "));
    keep(find(".legs", box), list(session.legs), (leg) => leg.leg, (leg) => {
        const row = element("div", undefined, "leg");
        row.append(element("span", leg.uri), element("progress"), element("span", "", "percent"),
            element("span", "", "outcome"));
        return row;
    }, (row, leg) => {
        const bar = find("progress", row);
        bar.max = leg.total || 1;
        bar.value = sent(leg);
        write(find(".percent", row), percent(sent(leg), leg.total) + " %");
        const outcome = find(".outcome", row);
        const state = leg.outcome === "pending" ? leg.state : leg.outcome;
        write(outcome, [state, leg.code, leg.isf ? "ISF" : ""].filter(Boolean).join(" "));
        outcome.className = "outcome " + style(leg.outcome);
    });
}

// Why the sender of a session does not get on: who is behind, and which space is used up.
function reason(session, relay) {
    const behind = list(session.legs).filter((leg) => leg.outcome === "pending" && sent(leg) < session.received);
    const names = behind.slice(0, 3).map((leg) => leg.uri + " (sent " + bytes(sent(leg)) + ")");
    if (behind.length > 3) names.push((behind.length - 3) + " more");
    const spool = config.msrp_spool_dir !== "none" ? "spool " + bytes(relay.spool) : "no spool folder (msrp_spool_dir)";
    return "Session " + session.id + ": its sender has sent " + bytes(session.received) + ", and waits for "
        + (names.join(", ") || "space") + ". In use: memory " + bytes(relay.memory) + " of " + bytes(config.msrp_memory)
        + " (msrp_memory), at most " + bytes(config.msrp_session_memory) + " for a session (msrp_session_memory), "
        + spool + ".";
}

function drawSessions(sessions, count, relay) {
    keep(find("#sessions .list"), sessions, (session) => session.id, makeSession, changeSession);
    const more = count - sessions.length;
    write(find("#sessions .note"), count === 0 ? "None at the moment." : more > 0 ? more + " more are not shown." : "");
    const held = sessions.filter((session) => session.held_back && relay);
    find("#held-back").hidden = held.length === 0;
    keep(find("#held-back ul"), held, (session) => session.id, () => element("li"),
        (item, session) => write(item, reason(session, relay)));
}

const idOf = (message) => message.message_id || message.call_id || message.contribution_id || "";

// The page of the table: `most` messages at most, behind those that are skipped.
function drawPages(messages, most) {
    const pages = find("#messages .pages");
    find(".newer", pages).disabled = skipped === 0;
    find(".older", pages).disabled = messages.length < most;
    pages.hidden = skipped === 0 && messages.length < most;
    write(find("span", pages), messages.length ? (skipped + 1) + " to " + (skipped + messages.length) + ", newest first" : "");
}

function drawMessages(messages) {
    const cells = (message) => [age(message.age), message.state, message.originator, message.kind, message.mode,
        message.delivered, message.failed, message.recipients, idOf(message)];
    keep(find("#messages tbody"), messages, (message) => (message.session || "") + " " + message.call_id,
        (message) => {
            const row = element("tr", undefined, "link");
            row.tabIndex = 0;
            row.append(...cells(message).map(() => element("td")));
            const open = () => show(message.session || message.call_id || idOf(message));
            row.addEventListener("click", open);
            row.addEventListener("keydown", (event) => event.key === "Enter" && open());
            return row;
        }, (row, message) => {
            cells(message).forEach((text, at) => write(row.children[at], text ?? ""));
            row.children[1].className = style(message.state);
        });
    find("#messages table").hidden = messages.length === 0;
    find("#messages .none").hidden = messages.length > 0;
}

function define(dl, pairs) {
    dl.replaceChildren(...pairs.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function drawMessage(message) {
    const { legs, ...data } = message;
    define(find("#message dl"), Object.entries(data));
    keep(find("#message tbody"), list(legs), (leg) => leg.leg, (leg) => {
        const row = element("tr");
        row.append(...[leg.leg, leg.uri, "", "", ""].map((text) => element("td", text)));
        return row;
    }, (row, leg) => {
        [leg.state, leg.code, leg.seconds].forEach((text, at) => write(row.children[at + 2], text ?? ""));
        row.children[2].className = style(leg.state);
    });
    find("#message").hidden = false;
}

async function show(id) {
    shown = id;
    try {
        drawMessage(await ask("message", id));
    } catch (error) {
        shown = null;
        find("#message").hidden = true;
        write(find("#state"), error.message);
    }
}

function drawGroups(messages) {
    const sources = list(config.group_source);
    find("#groups").hidden = sources.length === 0;
    const ofGroups = messages.filter((message) => message.kind === "group");
    const sum = (name) => ofGroups.reduce((total, message) => total + message[name], 0);
    const pairs = [["addresses", list(config.group_uri).join(", ")], ["sources", sources.join(", ")],
        ["messages listed above", ofGroups.length],
        ["their recipients", sum("recipients") + ", " + sum("delivered") + " delivered, " + sum("failed") + " failed"]];
    define(find("#groups dl"), pairs);
}

function confirmEnd(id) {
    const dialog = find("dialog");
    write(find("code", dialog), id);
    find(".end", dialog).onclick = async () => {
        dialog.close();
        try {
            await ask("end", id);
            await draw();
        } catch (error) {
            write(find("#state"), error.message);
        }
    };
    dialog.showModal();
}

async function draw() {
    config ??= await ask("config");
    const form = new FormData(find("#messages form"));
    const words = ["originator", "state", "most"].map((name) => [name, String(form.get(name)).trim()])
        .filter(([, value]) => value).map(([name, value]) => name + "=" + value);
    const isLarge = list(config.msrp_listen).length > 0;
    if (skipped) words.push("skip=" + skipped);
    const [stats, messages, sessions, relay] = await Promise.all([ask("stats"),
        words.length ? ask("messages", words.join(" ")) : ask("messages"), isLarge && ask("sessions"), isLarge && ask("relay")]);
    // Those that are held back first.
    const first = list(sessions).sort((a, b) => b.held_back - a.held_back).slice(0, MOST_SESSIONS);
    const whole = await Promise.all(first.map((session, at) => at >= MOST_WITH_LEGS ? session
        : ask("session", session.id).then((answer) => ({ ...session, ...answer })).catch(() => session)));
    drawTotals(stats);
    drawSessions(whole, list(sessions).length, relay);
    drawMessages(list(messages));
    drawPages(list(messages), Number(form.get("most")) || MOST_MESSAGES);
    drawGroups(list(messages));
    if (shown) await show(shown);
    write(find("#state"), "As of " + new Date().toLocaleTimeString());
}

async function run() {
    for (;;) {
        if (!document.hidden && find("#sign-in").hidden) {
            await draw().catch((error) => write(find("#state"), "No answer: " + error.message));
        }
        await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
}

function signIn(isNeeded) {
    find("#sign-in").hidden = !isNeeded;
    find("main").hidden = isNeeded;
}

function turnPage(pages) {
    const most = Number(new FormData(find("#messages form")).get("most")) || MOST_MESSAGES;
    skipped = Math.max(0, skipped + pages * most);
    draw().catch((error) => write(find("#state"), "No answer: " + error.message));
}

find("#messages form").addEventListener("submit", (event) => event.preventDefault());
find("#messages form").addEventListener("input", () => { skipped = 0; });
find("#messages .newer").addEventListener("click", () => turnPage(-1));
find("#messages .older").addEventListener("click", () => turnPage(1));
find("#sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    password = new FormData(find("#sign-in")).get("password");
    find("#sign-in").reset();
    signIn(false);
});
find("#message .close").addEventListener("click", () => {
    shown = null;
    find("#message").hidden = true;
});
find("#groups .flush").addEventListener("click",
    () => ask("groups_flush").then(() => write(find("#state"), "Each group is read again when it is next used"),
        (error) => write(find("#state"), error.message)));
find("dialog .keep").addEventListener("click", () => find("dialog").close());
if (window.top !== window) {
    // For a proxy that sends no frame-ancestors: nothing in a frame of another page can be clicked on.
    document.body.textContent = "Not in a frame.";
} else {
    signIn(asksPassword !== undefined);
    if (asksPassword !== undefined) write(find("#state"), "Who are you?");
    run();
}
