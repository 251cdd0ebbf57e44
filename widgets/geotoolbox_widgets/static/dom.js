// Small helpers for the page's side of the widgets; put before the modules that use them.

const make = (tag, options = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (key === 'text') node.textContent = value;
    else if (key === 'on') for (const [name, hear] of Object.entries(value)) node.addEventListener(name, hear);
    else if (key === 'data') Object.assign(node.dataset, value);
    else if (key in node && key !== 'list') node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter(Boolean));
  return node;
};

let serial = 0;
const ownId = Math.random().toString(36).slice(2, 8); // each module counts for itself
const fresh = () => `gt-${ownId}-${(serial += 1)}`;

// JupyterLab and Notebook take keys for themselves unless the focused element says otherwise.
const own = (node) => {
  node.dataset.lmSuppressShortcuts = 'true';
  node.addEventListener('keydown', (event) => event.stopPropagation());
  return node;
};

const row = (title, ...inputs) => {
  const id = fresh();
  inputs[0].id = id;
  return make('div', { className: 'gt-row' }, make('label', { className: 'gt-lead', htmlFor: id, text: title }), ...inputs);
};

function choice(options, value, label, hear) {
  const node = own(make('select', { 'aria-label': label }));
  for (const option of options) node.append(make('option', { value: option, text: option }));
  node.value = value;
  node.addEventListener('change', () => hear(node.value));
  return node;
}

function number(value, label, limits, hear) {
  const node = own(make('input', { type: 'number', 'aria-label': label, ...limits }));
  node.value = String(value);
  node.addEventListener('change', () => hear(Number(node.value)));
  return node;
}

function slide(value, label, limits, hear, words) {
  const node = own(make('input', { type: 'range', 'aria-label': label, ...limits }));
  node.value = String(value);
  const tell = () => node.setAttribute('aria-valuetext', words(Number(node.value)));
  tell();
  let last = 0;
  let timer = null;
  node.addEventListener('input', () => {
    tell();
    clearTimeout(timer);
    const wait = Math.max(0, 80 - (performance.now() - last));
    timer = setTimeout(() => {
      last = performance.now();
      hear(Number(node.value));
    }, wait);
  });
  return node;
}

// Bytes from the kernel as a picture's address; the one before is freed.
class Picture {
  constructor() {
    this.url = null;
  }

  set(bytes, type = 'image/webp') {
    this.free();
    if (bytes && bytes.byteLength) this.url = URL.createObjectURL(new Blob([bytes], { type }));
    return this.url;
  }

  free() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
  }
}

function hearAll(model, hears) {
  for (const [name, hear] of Object.entries(hears)) {
    model.on(name, hear);
    hear();
  }
  return () => {
    for (const [name, hear] of Object.entries(hears)) model.off(name, hear);
  };
}
