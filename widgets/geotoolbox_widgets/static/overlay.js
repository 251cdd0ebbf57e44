// Draws layers into a map that ipyleaflet made. Tiles come as bytes over the widget's own channel.

const FRAME_MS = 12; // wishes of one moment go in one message
const POINTER_MS = 140;

const leafletOf = () => window.ipyL ?? window.L;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Tickets are unique on the page, so that an answer for a tile that is gone finds nobody.
let tickets = 0;

class TileDesk {
  constructor(model) {
    this.model = model;
    this.waiting = new Map();
    this.queue = [];
    this.dropped = [];
    this.timer = null;
    this.receive = (message, buffers) => {
      if (message.kind !== 'tile' && message.kind !== 'failed') return;
      const deliver = this.waiting.get(message.ticket);
      this.waiting.delete(message.ticket);
      if (deliver) deliver(message.kind === 'tile' ? buffers[0] : null);
    };
    model.on('msg:custom', this.receive);
  }

  want(layer, version, coords, deliver) {
    const ticket = `t${(tickets += 1)}`;
    this.waiting.set(ticket, deliver);
    this.queue.push([ticket, layer, version, coords.z, coords.x, coords.y]);
    this.later();
    return ticket;
  }

  drop(ticket) {
    if (!this.waiting.delete(ticket)) return;
    const place = this.queue.findIndex((wish) => wish[0] === ticket);
    if (place >= 0) this.queue.splice(place, 1);
    else this.dropped.push(ticket);
    this.later();
  }

  later() {
    if (this.timer === null) this.timer = setTimeout(() => this.flush(), FRAME_MS);
  }

  flush() {
    this.timer = null;
    if (this.dropped.length) this.model.send({ kind: 'cancel', tickets: this.dropped.splice(0) });
    if (this.queue.length) this.model.send({ kind: 'want', tiles: this.queue.splice(0) });
  }

  close() {
    clearTimeout(this.timer);
    this.model.off('msg:custom', this.receive);
    this.waiting.clear();
  }
}

// The picture is freed as soon as the browser has decoded it.
function showBytes(image, bytes, done) {
  if (!bytes || bytes.byteLength === 0) {
    image.removeAttribute('src');
    image.style.visibility = 'hidden';
    done();
    return;
  }
  const url = URL.createObjectURL(new Blob([bytes], { type: 'image/webp' }));
  const end = () => {
    URL.revokeObjectURL(url);
    image.style.visibility = '';
    done();
  };
  image.onload = end;
  image.onerror = end;
  image.src = url;
}

function tileLayerClass(L) {
  return L.GridLayer.extend({
    initialize(desk, spec, pane) {
      this.desk = desk;
      this.spec = spec;
      const box = spec.bounds && L.latLngBounds([spec.bounds[1], spec.bounds[0]], [spec.bounds[3], spec.bounds[2]]);
      L.setOptions(this, {
        pane,
        bounds: box || undefined,
        noWrap: true,
        maxNativeZoom: spec.max_zoom,
        maxZoom: 24,
        keepBuffer: 1,
        updateWhenZooming: false,
        className: 'gt-tiles',
      });
      this.on('tileunload', (event) => {
        desk.drop(event.tile.gtTicket);
        event.tile.onload = null;
        event.tile.removeAttribute('src');
      });
    },
    createTile(coords, done) {
      const image = document.createElement('img');
      image.alt = '';
      image.className = this.spec.exact ? 'gt-tile gt-exact' : 'gt-tile';
      image.dataset.layer = this.spec.id;
      image.gtCoords = { x: coords.x, y: coords.y, z: coords.z };
      this.ask(image, () => done(null, image));
      return image;
    },
    ask(image, done) {
      const asked = performance.now();
      image.gtTicket = this.desk.want(this.spec.id, this.spec.version, image.gtCoords, (bytes) =>
        showBytes(image, bytes, () => {
          image.dataset.version = String(this.spec.version);
          image.dataset.ms = String(Math.round(performance.now() - asked));
          done();
        }),
      );
    },
    // Tiles that are there stay until the new drawing has come.
    renew() {
      for (const key of Object.keys(this._tiles)) {
        const image = this._tiles[key].el;
        this.desk.drop(image.gtTicket);
        this.ask(image, () => {});
      }
    },
  });
}

function featureStyle(feature, selected) {
  const p = feature.properties || {};
  const chosen = selected >= 0 && p.id === selected;
  return {
    color: chosen ? '#ffe600' : p.color || '#1b6f8a',
    weight: chosen ? 4 : p.weight ?? 2,
    dashArray: p.dash || null,
    opacity: p.muted ? 0.45 : 1,
    fillColor: p.color || '#1b6f8a',
    fillOpacity: p.fill ?? (chosen ? 0.12 : 0.03),
  };
}

class Attachment {
  constructor(model, map, L) {
    Object.assign(this, { model, map, L });
    this.desk = new TileDesk(model);
    this.TileLayer = tileLayerClass(L);
    this.drawn = new Map();
    this.serial = null;
    this.onSync = () => this.sync();
    this.onFeatures = () => this.sync(true);
    this.onSwipe = () => this.swipe();
    this.onView = () => this.goto();
    this.onPin = () => this.pin();
    model.on('change:layers', this.onSync);
    model.on('change:features', this.onFeatures);
    model.on('change:swipe', this.onSwipe);
    model.on('change:view', this.onView);
    model.on('change:pin', this.onPin);
    this.listen();
    this.pin();
    this.goto();
    this.sync();
    this.swipe();
  }

  pane(id, order) {
    const name = `gt-${id}`;
    const pane = this.map.getPane(name) || this.map.createPane(name);
    pane.style.zIndex = String(210 + order);
    return name;
  }

  sync(fresh = false) {
    const specs = this.model.get('layers');
    const ids = new Set(specs.map((spec) => spec.id));
    for (const [id, layer] of this.drawn) if (!ids.has(id)) this.remove(id, layer);
    specs.forEach((spec, order) => {
      const pane = this.pane(spec.id, order);
      const node = this.map.getPane(pane);
      node.style.opacity = String(spec.opacity);
      node.style.display = spec.visible ? '' : 'none';
      let layer = this.drawn.get(spec.id);
      if (layer && spec.kind === 'features' && (fresh || layer.gtSpec.version !== spec.version)) {
        this.remove(spec.id, layer);
        layer = undefined;
      }
      if (!layer) {
        layer = spec.kind === 'features' ? this.outlines(spec, pane) : new this.TileLayer(this.desk, spec, pane);
        this.drawn.set(spec.id, layer);
      } else if (spec.kind === 'features') {
        layer.setStyle((feature) => featureStyle(feature, spec.selected));
        this.raise(layer, spec.selected);
      } else {
        const stale = layer.spec.version !== spec.version;
        layer.spec = spec;
        if (stale && this.map.hasLayer(layer)) layer.renew();
      }
      layer.gtSpec = spec;
      if (spec.visible && !this.map.hasLayer(layer)) this.map.addLayer(layer);
      if (!spec.visible && this.map.hasLayer(layer)) this.map.removeLayer(layer);
    });
    this.clip();
  }

  remove(id, layer) {
    this.map.removeLayer(layer);
    this.drawn.delete(id);
  }

  outlines(spec, pane) {
    const { L, model } = this;
    const data = model.get('features')[spec.id] || { type: 'FeatureCollection', features: [] };
    const renderer = data.features.length > 800 ? L.canvas({ pane }) : L.svg({ pane });
    const layer = L.geoJSON(data, {
      pane,
      renderer,
      style: (feature) => ({
        ...featureStyle(feature, spec.selected),
        pane,
        renderer,
        className: `gt-feature gt-feature-${Number(feature.properties?.id ?? -1)}`,
      }),
      pointToLayer: (feature, place) => L.circleMarker(place, { radius: 6, pane, renderer }),
      onEachFeature: (feature, shape) => {
        shape.on('click', (event) => {
          L.DomEvent.stopPropagation(event);
          model.send({ kind: 'feature', layer: spec.id, id: feature.properties?.id ?? -1 });
        });
      },
    });
    return layer;
  }

  raise(layer, selected) {
    layer.eachLayer((shape) => {
      if (selected >= 0 && shape.feature?.properties?.id === selected) shape.bringToFront?.();
    });
  }

  goto() {
    const view = this.model.get('view');
    if (!view || view[2] === this.serial) return;
    this.serial = view[2];
    this.map.fitBounds([view[0], view[1]], { animate: false, padding: [8, 8] });
  }

  pin() {
    const place = this.model.get('pin');
    this.marker?.remove();
    this.marker = null;
    if (!place) return;
    const icon = this.L.divIcon({ className: 'gt-pin', iconSize: null });
    this.marker = this.L.marker([place[1], place[0]], { icon, interactive: false, keyboard: false, alt: '' });
    this.marker.addTo(this.map);
  }

  // The swipe: each of the two panes is clipped at the divider.
  swipe() {
    const swipe = this.model.get('swipe');
    if (!swipe) {
      this.bar?.forEach((node) => node.remove());
      this.bar = null;
      this.clip();
      return;
    }
    if (!this.bar) this.makeBar();
    const [line, range, left, right] = this.bar;
    if (document.activeElement !== range || Math.abs(Number(range.value) / 1000 - swipe.position) > 0.02)
      range.value = String(Math.round(swipe.position * 1000));
    line.style.left = `${swipe.position * 100}%`;
    const name = (id) => this.model.get('layers').find((spec) => spec.id === id)?.name ?? '';
    left.textContent = name(swipe.left);
    right.textContent = name(swipe.right);
    range.setAttribute('aria-valuetext', `${Math.round(swipe.position * 100)} %: ${left.textContent} left, ${right.textContent} right`);
    this.clip();
  }

  makeBar() {
    const { L, map, model } = this;
    const make = (tag, name) => {
      const node = document.createElement(tag);
      node.className = name;
      map.getContainer().append(node);
      return node;
    };
    const line = make('div', 'gt-swipe-line');
    const range = make('input', 'gt-swipe-range');
    range.type = 'range';
    range.min = '0';
    range.max = '1000';
    range.step = '10';
    range.dataset.lmSuppressShortcuts = 'true';
    range.setAttribute('aria-label', 'Divider between the two layers');
    L.DomEvent.disableClickPropagation(range);
    for (const name of ['keydown', 'keyup', 'pointerdown', 'mousedown', 'touchstart'])
      range.addEventListener(name, (event) => event.stopPropagation());
    range.addEventListener('input', () => {
      const swipe = model.get('swipe');
      if (!swipe) return;
      model.set('swipe', { ...swipe, position: Number(range.value) / 1000 });
      clearTimeout(this.saving);
      this.saving = setTimeout(() => model.save_changes(), 60);
    });
    const left = make('div', 'gt-swipe-name');
    left.style.left = '8px';
    const right = make('div', 'gt-swipe-name');
    right.style.right = '8px';
    this.bar = [line, range, left, right];
  }

  clip() {
    const swipe = this.model.get('swipe');
    const size = this.map.getSize();
    for (const id of this.drawn.keys()) {
      const node = this.map.getPane(`gt-${id}`);
      const side = swipe && (swipe.left === id ? 'left' : swipe.right === id ? 'right' : null);
      if (!side) {
        node.style.clipPath = '';
        continue;
      }
      const x = size.x * swipe.position;
      const [from, to] = side === 'left' ? [0, x] : [x, size.x];
      const a = this.map.containerPointToLayerPoint([from, 0]);
      const b = this.map.containerPointToLayerPoint([to, size.y]);
      node.style.clipPath = `polygon(${a.x}px ${a.y}px, ${b.x}px ${a.y}px, ${b.x}px ${b.y}px, ${a.x}px ${b.y}px)`;
    }
  }

  listen() {
    const { map, model } = this;
    let waiting = null;
    const tell = (kind, place) => {
      const { lat, lng } = map.wrapLatLng ? map.wrapLatLng(place) : place;
      model.send({ kind, lon: lng, lat });
    };
    this.handlers = {
      move: () => this.clip(),
      zoomend: () => this.clip(),
      resize: () => this.clip(),
      click: (event) => tell('pin', event.latlng),
      mousemove: (event) => {
        if (!model.get('pointing')) return;
        this.place = event.latlng;
        if (waiting === null)
          waiting = setTimeout(() => {
            waiting = null;
            if (this.place) tell('point', this.place);
          }, POINTER_MS);
      },
      mouseout: () => {
        this.place = null;
      },
    };
    map.on(this.handlers);
    const box = map.getContainer();
    box.setAttribute('aria-label', 'Map. Arrow keys move, plus and minus zoom, Enter reads the pixel in the middle.');
    box.setAttribute('role', 'application');
    this.onKey = (event) => {
      if (event.key === 'Enter' && event.target === box) {
        event.preventDefault();
        tell('pin', map.getCenter());
      }
    };
    box.addEventListener('keydown', this.onKey);
    box.dataset.lmSuppressShortcuts = 'true';
  }

  close() {
    this.model.off('change:layers', this.onSync);
    this.model.off('change:features', this.onFeatures);
    this.model.off('change:swipe', this.onSwipe);
    this.model.off('change:view', this.onView);
    this.model.off('change:pin', this.onPin);
    this.map.off(this.handlers);
    this.map.getContainer().removeEventListener('keydown', this.onKey);
    this.bar?.forEach((node) => node.remove());
    this.desk.close();
  }
}

// A view of the map may come later than this one, or stand in a tab that is not open yet: it is usable once
// it has a size. Each display of the map brings a view of this overlay, which waits for a map of its own.
async function newMaps(model, signal, missing) {
  const mapModel = await model.widget_manager.get_model(model.get('map_id'));
  for (let tries = 0; !signal.aborted; tries += 1) {
    const views = await Promise.all(Object.values(mapModel.views || {}));
    const maps = views.map((view) => view.obj).filter((map) => map?.getContainer);
    const ready = maps.filter((map) => !map.gtAttached && map._loaded && map.getSize().x > 0);
    if (ready.length && leafletOf()) return ready;
    if (tries === 200 && !maps.length) missing();
    await sleep(tries < 160 ? 25 : 250);
  }
  return [];
}

export default {
  async render({ model, el }) {
    el.classList.add('gt-overlay');
    const stop = new AbortController();
    const mine = [];
    (async () => {
      const tell = (count) => {
        model.set('attached', count);
        model.save_changes();
      };
      const maps = await newMaps(model, stop.signal, () => tell(-1));
      if (stop.signal.aborted) return;
      for (const map of maps) {
        map.gtAttached = true;
        const attachment = new Attachment(model, map, leafletOf());
        mine.push(attachment);
        map.on('unload', () => attachment.close());
      }
      tell(Math.max(model.get('attached'), 0) + maps.length);
    })();
    return () => {
      stop.abort();
      for (const attachment of mine) {
        attachment.map.gtAttached = false;
        try {
          attachment.close();
        } catch {
          // the map went first
        }
      }
    };
  },
};
