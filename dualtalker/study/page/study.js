// Shows one participant's pairs of videos in turn, keeps the answers, and hands them over.
"use strict";
(() => {
  const plan = globalThis.STUDY, main = document.querySelector("main");
  const status = document.querySelector("#status");
  const SIDES = ["left", "right"];
  const NAMES = plan.layout === "side" ? ["Left", "Right"] : ["First", "Second"];
  // Numbers that were given are smaller than numbers that were drawn.
  const FIRST_DRAWN = 1e9, MOST_DRAWN = 2 ** 31;
  const MOST_HASTE = 0.25;
  const given = /[?&]participant=(\d{1,9})(&|$)/.exec(location.search)?.[1] ?? null;
  const place = `dualtalker study ${plan.study} ${given ?? ""}`;
  let state = read();

  function read() {
    try { return JSON.parse(localStorage.getItem(place)); } catch { return null; }
  }

  function keep() {
    try {
      localStorage.setItem(place, JSON.stringify(state));
      return true;
    } catch {
      return false;
    }
  }

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function show(heading, ...children) {
    heading.tabIndex = -1;
    main.replaceChildren(heading, ...children);
    heading.focus();
    scrollTo(0, 0);
  }

  const tell = (text) => { status.textContent = text; };

  // --- Before ---

  function begin() {
    document.title = plan.title;
    const heading = make("h1", { textContent: plan.title });
    if (!plan.consent.length) {
      show(heading, make("p", {
        textContent: "This study cannot begin: it has no text that participants agree to. " +
          "Make it again with --consent.",
      }));
      return;
    }
    const text = make("section");
    let list = null;
    for (const [tag, content] of plan.consent) {
      const block = make(tag, { textContent: content });
      if (tag !== "li") list = null;
      else if (!list) text.append(list = make("ul"));
      (list ?? text).append(block);
    }
    const box = make("input", { type: "checkbox", id: "agree" });
    const button = make("button", { id: "begin", textContent: "Begin", disabled: true });
    box.addEventListener("change", () => { button.disabled = !box.checked; });
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        state = { participant: await choose(), began: new Date().toISOString(), answers: [] };
      } catch (error) {
        tell(`The server does not answer (${error.message}). Please try again.`);
        button.disabled = false;
        return;
      }
      const kept = keep();
      next();
      if (!kept) tell("This browser keeps nothing: please do not reload the page.");
    });
    const count = plan.schedules[0].length;
    show(heading, text,
      make("p", { textContent: `You will see ${count} pairs of videos with sound: please use ` +
        "headphones or a loudspeaker. You can stop, and go on later on this device." }),
      make("label", { className: "agree" }, box, "I have read this and agree to take part."),
      make("p", { className: "center" }, button));
  }

  async function choose() {
    if (given !== null) return Number(given);
    if (globalThis.COLLECTOR) {
      const answer = await fetch("participant", { method: "POST" });
      if (!answer.ok) throw new Error(await answer.text());
      return (await answer.json()).participant;
    }
    const [drawn] = crypto.getRandomValues(new Uint32Array(1));
    return FIRST_DRAWN + (drawn % (MOST_DRAWN - FIRST_DRAWN));
  }

  // --- Pairs ---

  function next() {
    tell("");
    const schedule = plan.schedules[state.participant % plan.schedules.length];
    if (state.answers.length >= schedule.length) finish();
    else ask(schedule[state.answers.length], state.answers.length, schedule.length);
  }

  function ask([pair, swapped], index, count) {
    const names = swapped ? [...plan.pairs[pair]].reverse() : plan.pairs[pair];
    const videos = names.map((name, side) => make("video", {
      src: `videos/${name}.mp4`, preload: "auto", playsInline: true,
      disablePictureInPicture: true, disableRemotePlayback: true, ariaLabel: NAMES[side],
    }));
    const figures = videos.map((video, side) =>
      make("figure", {}, video, make("figcaption", { textContent: NAMES[side] })));
    if (plan.layout === "turn") figures[1].hidden = true;
    const play = make("button", { id: "play", type: "button", textContent: "Play" });
    const fieldsets = Object.entries(plan.questions).map(([name, text]) =>
      make("fieldset", { disabled: true }, make("legend", { textContent: text }),
        ...SIDES.map((value, side) => make("label", { className: "choice" },
          make("input", { type: "radio", name, value, required: true }), NAMES[side]))));
    const submit = make("button", { id: "next", textContent: "Next", disabled: true });
    const form = make("form", {}, ...fieldsets, make("p", { className: "center" }, submit));
    const asked = performance.now();
    const plays = [0, 0];
    let playing = false;
    const settle = () => {
      const seen = plays.every(Boolean) && !playing;
      for (const fieldset of fieldsets) fieldset.disabled = !seen;
      submit.disabled = !seen || !form.checkValidity();
    };
    play.addEventListener("click", async () => {
      playing = play.disabled = true;
      settle();
      tell("Playing.");
      try {
        await (plan.layout === "side" ? playTogether : playInTurn)(videos, figures, plays);
        tell("Please answer both questions. You may play the videos again.");
      } catch (error) {
        tell(`The videos stopped (${error.message}). Please press Play again.`);
      }
      playing = play.disabled = false;
      play.textContent = plays.every(Boolean) ? "Play again" : "Play";
      settle();
      const first = fieldsets.find((set) => !set.querySelector(":checked"));
      (plays.every(Boolean) && first ? first.querySelector("input") : play).focus();
    });
    form.addEventListener("change", settle);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (submit.disabled) return;
      const chosen = Object.fromEntries(new FormData(form));
      const seconds = Math.round(performance.now() - asked) / 1000;
      state.answers.push({ pair, left: names[0], right: names[1], chosen, plays, seconds });
      const kept = keep();
      next();
      if (!kept) tell("This browser keeps nothing: please do not reload the page.");
    });
    show(make("h2", { textContent: `Pair ${index + 1} of ${count}` }),
      make("progress", { max: count, value: index, ariaLabel: "Progress" }),
      make("div", { className: "videos" }, ...figures),
      make("p", { className: "center" }, play), form);
  }

  // Resolves at the video's end; what stops before does not count.
  function playOne(video) {
    return new Promise((resolve, reject) => {
      const heard = new AbortController(), { signal } = heard;
      const end = (error) => {
        heard.abort();
        if (!error) return resolve();
        video.pause();
        reject(error);
      };
      video.addEventListener("ended", () => end(), { signal });
      video.addEventListener("pause", () => { if (!video.ended) end(new Error("paused")); },
        { signal });
      video.addEventListener("error", () =>
        end(new Error(video.error?.message || "a video cannot be loaded")), { signal });
      if (video.error) video.load();
      video.currentTime = 0;
      video.play().catch(end);
    });
  }

  // Both have the same sound: one is heard.
  async function playTogether(videos, figures, plays) {
    videos[1].muted = true;
    await Promise.all(videos.map(isReady));
    const [one, other] = videos;
    const align = setInterval(() => {
      const behind_s = one.currentTime - other.currentTime;
      // The one that is not heard goes a little faster or slower: nobody sees that.
      other.playbackRate = 1 + Math.max(-MOST_HASTE, Math.min(MOST_HASTE, 2 * behind_s));
    }, 50);
    try {
      await Promise.all(videos.map(playOne));
      videos.forEach((_, side) => { plays[side] += 1; });
    } catch (error) {
      for (const video of videos) video.pause();
      throw error;
    } finally {
      clearInterval(align);
    }
  }

  async function playInTurn(videos, figures, plays) {
    for (const [side, video] of videos.entries()) {
      figures.forEach((figure, other) => { figure.hidden = other !== side; });
      tell(`Playing: ${NAMES[side].toLowerCase()}.`);
      await playOne(video);
      plays[side] += 1;
    }
  }

  function isReady(video) {
    return new Promise((resolve, reject) => {
      if (video.error) video.load();
      if (video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA) resolve();
      video.addEventListener("canplay", resolve, { once: true });
      video.addEventListener("error", () => reject(new Error("a video cannot be loaded")),
        { once: true });
    });
  }

  // --- After ---

  async function finish() {
    state.ended ??= new Date().toISOString();
    keep();
    const { participant, began, ended, answers } = state;
    const text = JSON.stringify(
      { format: 1, study: plan.study, participant, began, ended, answers }, null, 1);
    const heading = make("h2", { textContent: "Thank you!" });
    const download = make("a", {
      id: "download", textContent: "Download your answers",
      download: `answers-${plan.study.slice(0, 8)}-${participant}.json`,
      href: URL.createObjectURL(new Blob([text], { type: "application/json" })),
    });
    const again = make("button", { id: "anew", textContent: "Begin for another participant" });
    again.addEventListener("click", () => {
      try { localStorage.removeItem(place); } catch { /* it keeps nothing */ }
      state = null;
      tell("");
      begin();
    });
    if (!globalThis.COLLECTOR) {
      show(heading, make("p", { textContent: "Please download your answers and send the file to " +
        "those who asked you." }), make("p", { className: "center" }, download),
        ...(given === null ? [make("p", { className: "center" }, again)] : []));
      return;
    }
    const send = make("button", { id: "send", textContent: "Send your answers" });
    show(heading, make("p", { className: "center" }, send));
    send.addEventListener("click", () => deliver(text, send, download, again));
    await deliver(text, send, download, again);
  }

  async function deliver(text, send, download, again) {
    send.disabled = true;
    tell("Sending your answers.");
    try {
      const answer = await fetch("answers",
        { method: "POST", headers: { "Content-Type": "application/json" }, body: text });
      if (!answer.ok) throw new Error((await answer.text()).trim());
      tell("Your answers have arrived. You may close this page.");
      send.parentElement.replaceChildren(...(given === null ? [again] : []));
    } catch (error) {
      tell(`Your answers have not arrived (${error.message}). Please try again, or download ` +
        "them and send the file to those who asked you.");
      send.disabled = false;
      send.after(" ", download);
    }
  }

  if (state?.answers) next();
  else begin();
})();
