// What the widget is for Jupyter. Nothing is kept in the model: a front end that (re)connects says
// "ready" and gets a snapshot.

export default {
  // Runs when the model arrives, before anything is shown: the kernel learns that someone is there.
  // Said more than once: JupyterLab may open the way to a busy kernel (a subshell) only by and by.
  initialize({ model }) {
    const hello = () => model.send({ type: "hello" });
    hello();
    const timers = [300, 1000, 3000].map((ms) => setTimeout(hello, ms));
    const enough = () => timers.forEach(clearTimeout);
    model.on("msg:custom", (message) => {
      enough();
      if (message.type === "end") model.send({ type: "bye" });
    });
    return enough;
  },
  render({ model, el }) {
    const view = new View(model, el);
    const hear = (message) => {
      if (message.type === "state") view.show(message);
      if (message.type === "details") view.details(message);
      if (message.type === "end" && message.html) view.end(message.html);
    };
    model.on("msg:custom", hear);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const timer = setInterval(() => view.tick(), calm ? 1000 : 100);
    model.send({ type: "ready", stays: true });
    return () => {
      clearInterval(timer);
      model.off("msg:custom", hear);
      el.replaceChildren();
    };
  },
};
