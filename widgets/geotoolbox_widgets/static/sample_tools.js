// The tools above the gallery of samples. Uses dom.js.

const VIEWS = { read: 'as read', model: 'as the model sees it' };

const field = (title, node) => {
  node.id = fresh();
  node.removeAttribute('aria-label'); // the visible label is the name
  return make('span', { className: 'gt-field' }, make('label', { htmlFor: node.id, text: title }), node);
};

function options(node, pairs, value) {
  const text = JSON.stringify(pairs);
  if (node.dataset.options !== text) {
    node.dataset.options = text;
    node.replaceChildren(...pairs.map(([v, t]) => make('option', { value: v, text: t })));
  }
  node.value = value;
}

export default {
  render({ model, el }) {
    const root = make('div', { className: 'gt gt-tools', role: 'group', 'aria-label': 'Which samples are shown' });
    const set = (name, value) => model.send({ kind: 'set', name, value });
    const pick = (name) => {
      const node = own(make('select'));
      node.addEventListener('change', () => set(name, node.value));
      return node;
    };
    const view = pick('view');
    const classes = pick('class_filter');
    const parts = pick('part_filter');
    const nodata = number(100, 'Most per cent without data', { min: 0, max: 100, step: 1 }, (v) => set('max_nodata_percent', v));
    const overlay = slide(0.5, 'How strongly masks are drawn', { min: 0, max: 1, step: 0.05 }, (v) => set('overlay', v),
      (v) => `${Math.round(v * 100)} %`);
    const back = make('button', { text: '‹ Back', type: 'button', on: { click: () => set('page', model.get('page') - 1) } });
    const next = make('button', { text: 'Next ›', type: 'button', on: { click: () => set('page', model.get('page') + 1) } });
    const page = make('span', { role: 'status' });
    const draw = make('button', { text: 'Draw others', type: 'button', className: 'gt-draw',
      title: 'Draw the sampler’s next epoch', on: { click: () => model.send({ kind: 'draw' }) } });
    const counts = make('span', { role: 'status', className: 'gt-told' });
    const legend = make('ul', { 'aria-label': 'Classes' });
    const partField = field('Split', parts);
    root.append(
      field('Shown', view), field('Masks', overlay), field('Class', classes), partField,
      field('No data ≤ %', nodata), make('span', { className: 'gt-field' }, back, page, next), draw,
      make('div', { className: 'gt-counts' }, counts, legend),
    );
    el.append(root);
    const stop = hearAll(model, {
      'change:view change:views': () => options(view, model.get('views').map((v) => [v, VIEWS[v] ?? v]), model.get('view')),
      'change:classes change:class_filter': () =>
        options(classes, [['', 'all'], ...model.get('classes').map((n) => [n, n])], model.get('class_filter')),
      'change:parts change:part_filter': () => {
        partField.hidden = model.get('parts').length === 0;
        options(parts, [['', 'all'], ...model.get('parts').map((n) => [n, n || 'none'])], model.get('part_filter'));
      },
      'change:nodata': () => (nodata.value = String(model.get('nodata'))),
      'change:overlay': () => document.activeElement !== overlay && (overlay.value = String(model.get('overlay'))),
      'change:page change:pages': () => {
        page.textContent = `page ${model.get('page') + 1} of ${model.get('pages')}`;
        back.disabled = model.get('page') <= 0;
        next.disabled = model.get('page') >= model.get('pages') - 1;
      },
      'change:counts': () => (counts.textContent = model.get('counts')),
      'change:legend': () => legend.replaceChildren(...model.get('legend').map(([name, color]) => {
        const swatch = make('span', { className: 'gt-swatch', 'aria-hidden': 'true' });
        swatch.style.background = color;
        return make('li', {}, swatch, make('span', { text: name }));
      })),
    });
    return stop;
  },
};
