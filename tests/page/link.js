// A bad network on this machine: a datagram goes through a queue that empties at a rate.

import dgram from "node:dgram";

/** Between a sender, who sends to `port`, and a receiver of the loopback. */
export class Link {
  /** Bits per second from sender to receiver; zero: nothing goes through, either way. */
  rate = 100e6;
  #queue = [];
  #queued = 0;
  #budget = 0;
  #last = performance.now();
  #sender = null;
  #near = dgram.createSocket("udp4");
  #far = dgram.createSocket("udp4");

  static async to(receiverPort) {
    const link = new Link();
    link.#near.on("message", (datagram, from) => {
      link.#sender = from;
      if (link.#queued + datagram.length > QUEUE) return;
      link.#queue.push(datagram);
      link.#queued += datagram.length;
    });
    link.#far.on("message", (datagram) => {
      if (link.rate > 0 && link.#sender) link.#near.send(datagram, link.#sender.port, link.#sender.address);
    });
    await new Promise((resolve) => link.#near.bind(0, "127.0.0.1", resolve));
    link.port = link.#near.address().port;
    link.timer = setInterval(() => link.#forward(receiverPort), 2);
    return link;
  }

  close() {
    clearInterval(this.timer);
    this.#near.close();
    this.#far.close();
  }

  #forward(port) {
    const now = performance.now();
    this.#budget = Math.min(this.#budget + ((now - this.#last) * this.rate) / 8000, BURST);
    this.#last = now;
    while (this.#queue.length && this.#budget >= this.#queue[0].length) {
      const datagram = this.#queue.shift();
      this.#queued -= datagram.length;
      this.#budget -= datagram.length;
      this.#far.send(datagram, port, "127.0.0.1");
    }
  }
}

// Bytes: half a second at 2 Mbit/s.
const QUEUE = 125_000;

// Bytes that may leave at once after a pause.
const BURST = 20_000;
