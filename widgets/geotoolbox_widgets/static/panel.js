// The panel beside a map. It shows traits and sends messages; what they mean is decided in the kernel.
// Uses dom.js.

class Panel {
  constructor(model, root) {
    Object.assign(this, { model, root });
    this.cards = new Map();
    this.list = make('ul', { 'aria-label': 'Layers, the top one first' });
    this.compare = make('div');
    this.legend = make('div');
    this.place = make('div', { className: 'gt-place' });
    this.values = make('table', { className: 'gt-values' });
    this.area = make('div', { className: 'gt-place', role: 'status' });
    this.box = make('div');
    root.append(
      make('h3', { text: 'Layers' }), this.list, this.compare, this.legend,
      make('h3', { text: 'Values at the pointer' }), this.place, this.values,
      make('h3', { text: 'Area' }), this.area, this.box,
    );
  }

  send(message) {
    this.model.send(message);
  }

  set(layer, name, value) {
    this.send({ kind: 'set', layer, name, value });
  }

  // Cards are made anew only when the set of layers changes, so that focus and open parts stay.
  layers() {
    const specs = [...this.model.get('layers')].reverse();
    const shape = JSON.stringify(specs.map((s) => [s.id, s.name, s.kind, s.bands?.length]));
    if (shape !== this.shape) {
      this.shape = shape;
      const open = new Set([...this.cards].filter(([, c]) => c.details?.open).map(([id]) => id));
      this.list.replaceChildren();
      this.cards.clear();
      specs.forEach((spec, place) => this.card(spec, place, specs.length, open.has(spec.id)));
      this.comparison(specs);
    }
    for (const spec of specs) this.cards.get(spec.id).update(spec);
    this.legends(specs);
    this.comparisonState();
  }

  card(spec, place, count, open) {
    const id = spec.id;
    const updates = [];
    const check = make('input', { type: 'checkbox', 'aria-label': `Show ${spec.name}` });
    check.addEventListener('change', () => this.set(id, 'visible', check.checked));
    own(check);
    updates.push((s) => (check.checked = s.visible));
    const button = (text, label, message, disabled = false) =>
      make('button', { className: 'gt-small', text, title: label, 'aria-label': label, disabled, type: 'button',
        on: { click: () => this.send(message) } });
    const head = make('div', { className: 'gt-row' }, check,
      make('span', { className: 'gt-name gt-grow', text: spec.name, title: spec.name }),
      button('↑', `Move ${spec.name} up`, { kind: 'move', layer: id, by: 1 }, place === 0),
      button('↓', `Move ${spec.name} down`, { kind: 'move', layer: id, by: -1 }, place === count - 1),
      button('⤢', `Zoom to ${spec.name}`, { kind: 'fit', layer: id }));
    const percent = (v) => `${Math.round(v * 100)} %`;
    const opacity = slide(spec.opacity, `Opacity of ${spec.name}`, { min: 0, max: 1, step: 0.05 },
      (v) => this.set(id, 'opacity', v), percent);
    opacity.classList.add('gt-grow');
    updates.push((s) => { if (document.activeElement !== opacity) opacity.value = String(s.opacity); });
    const parts = [head, row('Opacity', opacity)];
    let details = null;
    if (spec.kind === 'image') {
      details = make('details', { open }, make('summary', { text: 'Bands and stretch' }));
      details.append(...this.image(spec, updates));
      parts.push(details);
    }
    const item = make('li', { className: 'gt-layer', data: { layer: id } }, ...parts);
    this.list.append(item);
    this.cards.set(id, { details, update: (s) => updates.forEach((u) => u(s)) });
  }

  image(spec, updates) {
    const id = spec.id;
    const three = spec.bands.length === 3;
    const titles = three ? ['Red', 'Green', 'Blue'] : ['Band'];
    const picks = titles.map((title) => choice(spec.band_names, '', `${title} of ${spec.name}`, () =>
      this.set(id, 'bands', picks.map((p) => p.value))));
    const mode = choice(spec.band_names.length >= 3 ? ['three bands', 'one band'] : ['one band'], '',
      `How ${spec.name} is coloured`, (value) => {
        const names = spec.band_names;
        const now = picks.map((p) => p.value);
        this.set(id, 'bands', value === 'one band' ? now.slice(0, 1) : names.slice(0, 3));
      });
    const low = number(0, `Per cent that is black in ${spec.name}`, { min: 0, max: 100, step: 0.5 }, () => stretch());
    const high = number(0, `Per cent that is white in ${spec.name}`, { min: 0, max: 100, step: 0.5 }, () => stretch());
    const stretch = () => this.set(id, 'percentiles', [Number(low.value), Number(high.value)]);
    const gamma = slide(spec.gamma, `Gamma of ${spec.name}`, { min: 0.2, max: 2.5, step: 0.05 },
      (v) => this.set(id, 'gamma', v), (v) => String(v));
    gamma.classList.add('gt-grow');
    const map = choice(this.model.get('colormaps'), '', `Colours of ${spec.name}`, (v) => this.set(id, 'colormap', v));
    updates.push((s) => {
      mode.value = s.bands.length === 3 ? 'three bands' : 'one band';
      picks.forEach((p, i) => (p.value = s.bands[i]));
      low.value = String(s.percentiles[0]);
      high.value = String(s.percentiles[1]);
      if (document.activeElement !== gamma) gamma.value = String(s.gamma);
      map.value = s.colormap;
    });
    const rows = [row('Colour', mode), ...titles.map((title, i) => row(title, picks[i])), row('Stretch %', low, high)];
    return [...rows, row('Gamma', gamma), ...(three ? [] : [row('Colours', map)])];
  }

  comparison(specs) {
    this.compare.replaceChildren();
    this.sides = null;
    const rasters = specs.filter((s) => s.kind !== 'features');
    if (rasters.length < 2) return;
    const side = (label) => {
      const node = own(make('select', { 'aria-label': label }));
      for (const spec of rasters) node.append(make('option', { value: spec.id, text: spec.name }));
      return node;
    };
    const left = side('Layer on the left');
    const right = side('Layer on the right');
    left.value = rasters[rasters.length - 1].id;
    right.value = rasters[0].id;
    const toggle = make('input', { type: 'checkbox', className: 'gt-compare' });
    own(toggle);
    const tell = () => this.send(toggle.checked ? { kind: 'compare', left: left.value, right: right.value } : { kind: 'compare' });
    for (const node of [toggle, left, right]) node.addEventListener('change', () => (node === toggle || toggle.checked) && tell());
    const label = make('label', { className: 'gt-row' }, toggle, make('span', { text: 'Compare side by side' }));
    this.compare.append(label, make('div', { className: 'gt-row' }, left, right));
    this.sides = { left, right, toggle };
  }

  comparisonState() {
    if (!this.sides) return;
    const now = this.model.get('comparing');
    this.sides.toggle.checked = Boolean(now);
    if (now) {
      this.sides.left.value = now.left;
      this.sides.right.value = now.right;
    }
  }

  legends(specs) {
    const shown = specs.filter((s) => s.legend?.length && s.visible);
    const text = JSON.stringify(shown.map((s) => [s.name, s.legend]));
    if (text === this.legendText) return;
    this.legendText = text;
    this.legend.replaceChildren();
    for (const spec of shown) {
      const items = spec.legend.map(([name, color]) => {
        const swatch = make('span', { className: 'gt-swatch', 'aria-hidden': 'true' });
        swatch.style.background = color;
        return make('li', {}, swatch, make('span', { text: name }));
      });
      this.legend.append(make('h3', { text: spec.name }), make('ul', { className: 'gt-legend', 'aria-label': `Legend of ${spec.name}` }, ...items));
    }
  }

  inspect() {
    this.place.textContent = this.model.get('place') || 'Move over the map, or click to keep a place.';
    const body = make('tbody');
    for (const found of this.model.get('values')) {
      const title = make('tr', { className: 'gt-of' }, make('th', { scope: 'row', text: found.layer }), make('td', { text: found.note || '' }));
      body.append(title);
      for (const [name, value] of found.values) {
        const cell = make('td', { text: typeof value === 'number' ? new Intl.NumberFormat('en', { maximumSignificantDigits: 7 }).format(value) : value });
        if (found.color && name === 'class') {
          const swatch = make('span', { className: 'gt-swatch', 'aria-hidden': 'true' });
          swatch.style.background = `rgb(${found.color.join(',')})`;
          cell.prepend(swatch, ' ');
        }
        body.append(make('tr', {}, make('td', { text: name }), cell));
      }
    }
    this.values.replaceChildren(make('caption', { className: 'gt-hidden', text: 'Pixel values by layer' }), body);
  }

  areaState() {
    this.area.textContent = this.model.get('area') || 'Draw a rectangle or polygon on the map, or type its sides in degrees.';
    const now = this.model.get('box');
    if (!this.inputs) this.makeBox();
    this.inputs.forEach((input, i) => (input.value = now.length === 4 ? String(Number(now[i].toFixed(6))) : ''));
    this.clear.disabled = now.length !== 4;
  }

  makeBox() {
    this.inputs = ['West', 'South', 'East', 'North'].map((title) =>
      own(make('input', { type: 'number', step: 'any', 'aria-label': `${title} of the area, in degrees` })));
    const grid = make('div', { className: 'gt-box' }, ...this.inputs.map((input, i) =>
      make('label', {}, ['West °', 'South °', 'East °', 'North °'][i], input)));
    const use = make('button', { text: 'Use these', type: 'button', on: {
      click: () => this.send({ kind: 'box', box: this.inputs.map((input) => input.value) }) } });
    this.clear = make('button', { text: 'Clear the area', type: 'button', on: { click: () => this.send({ kind: 'box', box: null }) } });
    this.box.append(grid, make('div', { className: 'gt-row' }, use, this.clear));
  }
}

export default {
  render({ model, el }) {
    const root = make('div', { className: 'gt gt-panel', role: 'region', 'aria-label': 'Layers of the map' });
    el.append(root);
    el.style.height = '100%';
    const panel = new Panel(model, root);
    const hears = {
      'change:layers': () => panel.layers(),
      'change:comparing': () => panel.comparisonState(),
      'change:values change:place': () => panel.inspect(),
      'change:area change:box': () => panel.areaState(),
    };
    for (const [name, hear] of Object.entries(hears)) {
      model.on(name, hear);
      hear();
    }
    return () => {
      for (const [name, hear] of Object.entries(hears)) model.off(name, hear);
    };
  },
};
