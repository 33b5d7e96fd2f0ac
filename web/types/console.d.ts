/** What the console's scripts get from HTMX and from each other by events of the document. */

export interface HtmxContext {
  sourceElement: HTMLElement;
  sourceEvent?: Event & { target: Element };
  target?: Element | null;
  request: { form?: HTMLFormElement | null; body: FormData; action: string };
  response?: { status: number; headers: Headers };
  hx?: { retarget?: string };
  push?: string | null;
  replace?: string | null;
}

type HtmxEvent = CustomEvent<{ ctx: HtmxContext }> & { target: Element };
type On<Kind extends Event, Where extends EventTarget = HTMLElement> = Kind & { target: Where };

interface Swap {
  text: string;
  sourceElement: Element;
  target: Element;
  swap: string;
}

export interface MorphedNodes {
  oldNode: HTMLElement;
  newNode: HTMLElement;
}

export interface MorphedAttribute {
  attrName: string;
  newValue: string | null;
}

/** The elements that are more than an HTMLElement, by their id. */
export interface ElementsById {
  message: HTMLTextAreaElement;
  "kept-text": HTMLTextAreaElement;
  q: HTMLInputElement;
  composer: HTMLFormElement;
  filters: HTMLFormElement;
  "sign-in": HTMLDialogElement;
  empty: HTMLTemplateElement;
  deleted: HTMLTemplateElement;
  "seen-mark": HTMLTemplateElement;
  help: HTMLTemplateElement;
  leave: HTMLTemplateElement;
  jump: HTMLButtonElement;
}

declare global {
  const htmx: {
    swap(swap: Swap): Promise<void>;
    trigger(element: Element, name: string): void;
    process(element: Element): void;
    ajax(method: string, path: string, options: Record<string, string>): Promise<void>;
    registerExtension(name: string, extension: Record<string, (element: HTMLElement, detail: any) => boolean>): void;
  };

  // The pages have no other elements than those of HTML where selectors are used.
  interface ParentNode {
    querySelector<Found extends HTMLElement = HTMLElement>(selectors: string): Found | null;
    querySelectorAll<Found extends HTMLElement = HTMLElement>(selectors: string): NodeListOf<Found>;
  }

  interface DocumentEventMap {
    "htmx:config:request": HtmxEvent;
    "htmx:before:request": HtmxEvent;
    "htmx:before:response": HtmxEvent;
    "htmx:after:request": HtmxEvent;
    "htmx:finally:request": HtmxEvent;
    "htmx:response:error": HtmxEvent;
    "htmx:error": CustomEvent<{ ctx?: HtmxContext }>;
    "htmx:before:swap": HtmxEvent;
    "htmx:after:swap": HtmxEvent;
    "htmx:after:settle": CustomEvent<{ task: { target: Element } }>;
    "htmx:before:history:restore": CustomEvent<{ path: string }>;
    "console:deleted": CustomEvent<{ chat: string }>;
    "console:closed": CustomEvent<{ chat: string }>;
    "console:redacted": CustomEvent<{ seq: number }>;
    "console:signedin": CustomEvent<{ agent: string; token: string }>;
    "console:csrf": CustomEvent<{ token: string }>;
    // What people do, they do to an element.
    click: On<PointerEvent>;
    mousedown: On<MouseEvent>;
    keydown: On<KeyboardEvent>;
    focusin: On<FocusEvent>;
    focusout: On<FocusEvent>;
    pointermove: On<PointerEvent>;
    scroll: On<Event>;
    cancel: On<Event>;
    close: On<Event>;
    error: On<ErrorEvent>;
    submit: On<SubmitEvent, HTMLFormElement>;
    input: On<InputEvent, HTMLTextAreaElement>;
    change: On<Event, HTMLInputElement & HTMLSelectElement>;
  }
}
