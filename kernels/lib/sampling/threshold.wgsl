// threshold: the least logit that top_k, top_p and min_p keep. A histogram over equal ranges of the logit names the one
//   that holds the last token kept; its tokens are few and are searched digit by digit, on integer keys of their order.
import package::lib::grid::WG;
import package::lib::sampling::logits::{
  Row, SCRATCH, logit_at, order_key, params, partial_index, quads_at, scratch, weight_of,
};

override LISTED: u32;  // tokens of one bin that are searched apart: whoever dispatches says
const ZOOMS = 3u;  // bins of bins, before the whole row is searched digit by digit
const REACH = 16.0;  // temperatures below the largest logit that the first bins span; the last takes all below

var<workgroup> listed: array<f32, LISTED>;  // a part for each lane
var<workgroup> list_fits: u32;

// A bin of the histogram, and what the tokens above it hold.
struct Cut { bin: u32, above: f32, wanted: f32 }
var<workgroup> found_cut: Cut;

// What to look for: tokens of floor_key and above, taken from the largest down until they hold `wanted`: so many of
// them by_count, else this share of their probability.
struct Search { row: Row, peak: f32, wanted: f32, floor_key: u32, by_count: bool }

fn held_by(x: f32, search: Search) -> f32 {
  if (search.by_count) { return 1.0; }
  return weight_of(x, search.peak);
}

// A histogram of logits: its first bin begins `offset` bins below the largest logit.
struct Bins { scale: f32, offset: f32, is_first: bool }

// Place of a logit, in bins; falls as the logit grows, rounded alike for all, so no two tokens change their order.
fn place_of(x: f32, peak: f32, bins: Bins) -> f32 {
  let place = (peak - x) * bins.scale - bins.offset;
  return select(place, min(place, f32(SCRATCH / WG) - 1.0), bins.is_first);
}

fn count_token(lane: u32, x: f32, search: Search, bins: Bins) {
  let size = SCRATCH / WG;
  let place = place_of(x, search.peak, bins);
  if (place >= 0.0 && place < f32(size) && order_key(x) >= search.floor_key) {
    scratch[lane * size + u32(place)] += held_by(x, search);
  }
}

@if(VEC4)
fn count_quad(lane: u32, x: vec4f, search: Search, bins: Bins) {
  count_token(lane, x.x, search, bins);
  count_token(lane, x.y, search, bins);
  count_token(lane, x.z, search, bins);
  count_token(lane, x.w, search, bins);
}

// Histogram of the tokens whose place is on it, every lane in bins of its own, and the bin at which they hold what is
// wanted.
fn cut_holding(lane: u32, search: Search, bins: Bins, above: f32, wanted: f32) {
  let size = SCRATCH / WG;
  for (var at = lane * size; at < (lane + 1u) * size; at++) { scratch[at] = 0.0; }
  @if(VEC4) {
    let quads = params.vocab / 4u;
    for (var quad = lane; quad < quads; quad += 4u * WG) {
      let x = quads_at(search.row, quad);
      count_quad(lane, x.a, search, bins);
      if (quad + WG < quads) { count_quad(lane, x.b, search, bins); }
      if (quad + 2u * WG < quads) { count_quad(lane, x.c, search, bins); }
      if (quad + 3u * WG < quads) { count_quad(lane, x.d, search, bins); }
    }
  }
  @else { for (var v = lane; v < params.vocab; v += WG) { count_token(lane, logit_at(search.row, v), search, bins); } }
  workgroupBarrier();
  for (var bin = lane; bin < size; bin += WG) {
    var sum = 0.0;
    for (var other = 0u; other < WG; other++) { sum += scratch[other * size + bin]; }
    scratch[bin] = sum;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var cut = Cut(0u, above, wanted);
    if (bins.is_first && !search.by_count) {
      var total = 0.0;
      for (var bin = 0u; bin < size; bin++) { total += scratch[size - 1u - bin]; }
      cut.wanted = wanted * total;
    }
    while (cut.bin < size - 1u && cut.above + scratch[cut.bin] < cut.wanted) {
      cut.above += scratch[cut.bin];
      cut.bin++;
    }
    found_cut = cut;
  }
}

// @returns how many are listed, or would be if there were room, this one counted
fn list_token(lane: u32, x: f32, count: u32, search: Search, bins: Bins, bin: u32) -> u32 {
  let is_in = params.vocab <= LISTED || floor(place_of(x, search.peak, bins)) == f32(bin);
  if (!is_in || order_key(x) < search.floor_key) { return count; }
  let room = LISTED / WG;
  if (count < room) { listed[lane * room + count] = x; }
  return count + 1u;
}

@if(VEC4)
fn list_quad(lane: u32, x: vec4f, count: u32, search: Search, bins: Bins, bin: u32) -> u32 {
  let a = list_token(lane, x.x, count, search, bins, bin);
  let b = list_token(lane, x.y, a, search, bins, bin);
  let c = list_token(lane, x.z, b, search, bins, bin);
  return list_token(lane, x.w, c, search, bins, bin);
}

// Puts the tokens of a bin (of the whole row where it is short) into `listed`. @returns how many are this lane's
fn list_bin(lane: u32, search: Search, bins: Bins, bin: u32) -> u32 {
  let room = LISTED / WG;
  var count = 0u;
  @if(VEC4) {
    let quads = params.vocab / 4u;
    for (var quad = lane; quad < quads; quad += 4u * WG) {
      let x = quads_at(search.row, quad);
      count = list_quad(lane, x.a, count, search, bins, bin);
      if (quad + WG < quads) { count = list_quad(lane, x.b, count, search, bins, bin); }
      if (quad + 2u * WG < quads) { count = list_quad(lane, x.c, count, search, bins, bin); }
      if (quad + 3u * WG < quads) { count = list_quad(lane, x.d, count, search, bins, bin); }
    }
  }
  @else {
    for (var v = lane; v < params.vocab; v += WG) {
      count = list_token(lane, logit_at(search.row, v), count, search, bins, bin);
    }
  }
  partial_index[lane] = count;
  workgroupBarrier();
  if (lane == 0u) {
    var most = 0u;
    for (var other = 0u; other < WG; other++) { most = max(most, partial_index[other]); }
    list_fits = select(0u, 1u, most > 0u && most <= room);
  }
  return count;
}

// The key of the last token taken among those listed, or among all. Four bits of it a round: every lane sums its tokens
// of the 16 continuations in bins of its own, in order, and these sums are added lane by lane.
fn last_key(lane: u32, search: Search, from_list: bool, listed_count: u32, begin: Cut, has_wanted: bool) -> u32 {
  var cut = begin;
  var prefix = 0u;
  let count = select((params.vocab + WG - 1u - lane) / WG, listed_count, from_list);
  for (var round = 0u; round < 8u; round++) {
    let shift = 28u - 4u * round;
    for (var at = lane * 17u; at < lane * 17u + 16u; at++) { scratch[at] = 0.0; }
    for (var i = 0u; i < count; i++) {
      var x = 0.0;
      if (from_list) { x = listed[lane * (LISTED / WG) + i]; } else { x = logit_at(search.row, lane + i * WG); }
      let key = order_key(x);
      // In two shifts, since WGSL has none by 32.
      if (key >= search.floor_key && ((key >> shift) >> 4u) == prefix) {
        scratch[lane * 17u + ((key >> shift) & 15u)] += held_by(x, search);
      }
    }
    workgroupBarrier();
    for (var digit = lane; digit < 16u; digit += WG) {
      var sum = 0.0;
      for (var other = 0u; other < WG; other++) { sum += scratch[other * 17u + digit]; }
      scratch[digit] = sum;
    }
    workgroupBarrier();
    if (round == 0u && !search.by_count && !has_wanted) {
      var total = 0.0;
      for (var digit = 0u; digit < 16u; digit++) { total += scratch[15u - digit]; }
      cut.wanted = search.wanted * total;
    }
    var digit = 15u;
    while (digit > 0u && cut.above + scratch[digit] < cut.wanted) {
      cut.above += scratch[digit];
      digit--;
    }
    prefix = (prefix << 4u) | digit;
    workgroupBarrier();
  }
  return prefix;
}

// The smallest key listed: sums in another order may ask for a little more than the list holds.
fn least_key(lane: u32, count: u32) -> u32 {
  var least = 0xffffffffu;
  for (var i = 0u; i < count; i++) { least = min(least, order_key(listed[lane * (LISTED / WG) + i])); }
  partial_index[lane] = least;
  workgroupBarrier();
  for (var other = 0u; other < WG; other++) { least = min(least, partial_index[other]); }
  workgroupBarrier();
  return least;
}

// The key of the last token that is taken. Few calls of anything large: compilers put each in its place.
fn last_key_holding(lane: u32, search: Search) -> u32 {
  let is_short = params.vocab <= LISTED;
  var cut = Cut(0u, 0.0, search.wanted);
  let size = f32(SCRATCH / WG);
  var bins = Bins(size / (REACH * params.temperature), 0.0, true);
  var count = 0u;
  var is_listed = false;
  for (var zoom = 0u; zoom < ZOOMS; zoom++) {
    if (!is_short) {
      cut_holding(lane, search, bins, cut.above, cut.wanted);
      cut = workgroupUniformLoad(&found_cut);
    }
    count = list_bin(lane, search, bins, cut.bin);
    is_listed = workgroupUniformLoad(&list_fits) == 1u;
    if (is_listed) { break; }
    bins = Bins(bins.scale * size, (bins.offset + f32(cut.bin)) * size, false);
  }
  if (!is_listed) { cut = Cut(0u, 0.0, search.wanted); }
  let key = last_key(lane, search, is_listed, count, cut, is_listed && !is_short);
  if (!is_listed) { return key; }
  return max(key, least_key(lane, count));
}

fn kept_from(lane: u32, row: Row, peak: f32) -> u32 {
  var floor_key = 0u;
  for (var round = 0u; round < 2u; round++) {
    let by_count = round == 0u;
    let is_on = select((params.top_p < 1.0), (params.top_k > 0u && params.top_k < params.vocab), by_count);
    let wanted = select(params.top_p, f32(params.top_k), by_count);
    if (is_on) { floor_key = max(floor_key, last_key_holding(lane, Search(row, peak, wanted, floor_key, by_count))); }
  }
  return max(floor_key, order_key(peak + params.min_p_gap));
}
