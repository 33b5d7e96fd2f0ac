/** Scrolls a conversation up to its beginning, and lists where what was in sight moved by itself. */
async (box) => {
  const jumps = [];
  const messages = () => [...box.querySelectorAll(".message")];
  const top = box.getBoundingClientRect().top;
  for (let round = 0; round < 300; round += 1) {
    if (box.scrollTop === 0 && box.querySelector(".older[data-kind=start]")) break;
    box.scrollTop -= 350;
    await new Promise(requestAnimationFrame);
    const seen = messages().find((message) => message.getBoundingClientRect().top > top);
    const before = seen.getBoundingClientRect().top;
    const count = messages().length;
    await new Promise((done) => { setTimeout(done, 40); });
    const moved = Math.abs(seen.getBoundingClientRect().top - before);
    if (moved > 2) jumps.push({ round, moved, count, after: messages().length });
  }
  return jumps;
}
