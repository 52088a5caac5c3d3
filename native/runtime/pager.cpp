#include "runtime/pager.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "runtime/step.h"

namespace intact {
namespace {

// When a page is touched, the system also maps the surrounding pages that are in its cache, in windows of kWindow. If
// it cached the file in larger folios, which requesting pages does not cause, it maps the whole folio, at most kFolio.
constexpr std::uintptr_t kWindow = 1 << 16, kFolio = 1 << 21;
constexpr std::uintptr_t kPage = 1 << 12;

std::uintptr_t address(const std::uint8_t* at) { return reinterpret_cast<std::uintptr_t>(at); }

// The distance of `at` from the start of its window or page.
std::size_t past(const std::uint8_t* at, std::uintptr_t size) { return address(at) % size; }
std::size_t before(const std::uint8_t* at, std::uintptr_t size) { return (size - past(at, size)) % size; }

}  // namespace

Pager::Pager(const Model& model, const std::uint8_t* map, std::size_t size, std::int64_t cap)
    : map_(map), size_(size), cap_(cap), ahead_(cap / 8), stage_of_(model.ops.size(), -1) {
    for (std::size_t i = 0; i < model.ops.size(); i++) {
        const WeightUse use = model.ops[i].kind->weights(model.ops[i]);
        Stage stage;
        stage.whole = use.whole;
        stage.is_head = use.is_head;
        for (const std::vector<int>& together : use.chosen) {
            stage.firsts.push_back(stage.units.size());
            add(stage, model, together);
        }
        if (!use.chosen.empty()) stage.firsts.push_back(stage.units.size());
        add(stage, model, use.all);
        if (stage.units.empty()) continue;
        stage_of_[i] = std::ssize(stages_);
        stages_.push_back(std::move(stage));
    }
    system::read_singly(map, size);  // what is needed is asked for
    if (cap < least())
        throw std::invalid_argument("weights_memory must be at least " + std::to_string(least()) +
                                    " bytes for this model, whose largest two operations in succession then fit; got " +
                                    std::to_string(cap));
}

// Adds the weights that a stage reads together; the stage will be the next in the list.
void Pager::add(Stage& stage, const Model& model, const std::vector<int>& weights) {
    const auto number = std::ssize(stages_);
    std::map<const std::uint8_t*, std::size_t> ranges;
    for (const int weight : weights) {
        const Weight& packed = at(model.weights, weight)->packed;
        if (packed.storage.is_borrowed()) ranges[packed.storage.data()] = packed.storage.size() + packed.numbers.size();
    }
    Unit fresh;
    for (const auto& [begin, bytes] : ranges) {
        const auto [found, is_new] = unit_at_.try_emplace(begin, units_.size());
        if (!is_new) {  // another stage reads it too
            if (Unit& unit = units_[found->second]; unit.stages.back() != number) {
                unit.stages.push_back(number);
                stage.units.push_back(found->second);
            }
            continue;
        }
        std::vector<Range>& of = fresh.ranges;
        if (!of.empty() && before(of.back().begin + of.back().size, kPage) + of.back().begin + of.back().size == begin)
            of.back().size = static_cast<std::size_t>(begin - of.back().begin) + bytes;
        else
            of.push_back({begin, bytes});
    }
    if (fresh.ranges.empty()) return;
    for (const auto& [begin, bytes] : fresh.ranges)
        fresh.bytes += static_cast<std::int64_t>(past(begin, kWindow) + bytes + before(begin + bytes, kWindow));
    fresh.stages.push_back(number);
    fresh.left_out = stage.firsts.empty() ? 0 : 1;
    stage.units.push_back(units_.size());
    units_.push_back(std::move(fresh));
}

std::int64_t Pager::least() const {
    std::int64_t most = 0;
    for (std::int64_t k = 0; k < std::ssize(stages_); k++) {
        std::vector<std::size_t> both = at(stages_, k).units;
        const std::vector<std::size_t>& others = at(stages_, next(k)).units;
        both.insert(both.end(), others.begin(), others.end());
        std::sort(both.begin(), both.end());
        both.erase(std::unique(both.begin(), both.end()), both.end());
        std::int64_t bytes = 0;
        for (const std::size_t unit : both) bytes += units_[unit].bytes;
        most = std::max(most, bytes);
    }
    return most;
}

// Number of stages until this one runs; 0 for the current one.
std::int64_t Pager::distance(std::int64_t stage) const {
    const auto count = std::ssize(stages_);
    return (stage - now_ + count) % count;
}

std::int64_t Pager::until(const Unit& unit) const {
    std::int64_t least = INT64_MAX;
    for (const std::int64_t stage : unit.stages) least = std::min(least, distance(stage));
    return least + unit.left_out * std::ssize(stages_);
}

bool Pager::is_pinned(const Unit& unit) const { return until(unit) <= 1; }

// Drops units that are needed later than the given stage, latest first, until `bytes` more fit; returns false if they
// do not.
bool Pager::make_room(std::int64_t bytes, std::int64_t later_than) {
    while (counts.here + bytes > cap_) {
        Unit* latest = nullptr;
        std::int64_t longest = later_than;
        for (Unit& unit : units_)
            if (unit.here && !is_pinned(unit) && until(unit) > longest) latest = &unit, longest = until(unit);
        if (latest == nullptr) return false;
        drop(*latest);
    }
    return true;
}

void Pager::drop(Unit& unit) {
    unit.here = unit.requested = false;
    for (const Range& range : unit.ranges) {
        // Include what was mapped around it, up to the nearest unit that is in memory.
        const std::uint8_t *from = range.begin, *to = range.begin + range.size;
        from -= std::min<std::size_t>(past(from, kFolio), static_cast<std::size_t>(from - map_));
        to += std::min<std::size_t>(before(to, kFolio), static_cast<std::size_t>(map_ + size_ - to));
        for (const Unit& other : units_) {
            if (!other.here) continue;
            for (const Range& of : other.ranges) {
                const std::uint8_t* const end = of.begin + of.size;
                if (end <= range.begin && end > from) from = end + before(end, kPage);
                if (of.begin >= range.begin + range.size && of.begin < to) to = of.begin;
            }
        }
        system::drop_pages(from, static_cast<std::size_t>(to - from), file, from - map_);
    }
    counts.here -= unit.bytes;
    counts.dropped += unit.bytes;
}

// Brings a unit that a stage reads into memory; returns false if that would drop a unit that is needed sooner.
bool Pager::take(Stage& stage, std::size_t number, std::int64_t later_than) {
    Unit& unit = units_[number];
    if (!unit.here) {
        if (!make_room(unit.bytes, later_than)) return false;
        unit.here = true;
        counts.here += unit.bytes;
        counts.most = std::max(counts.most, counts.here);
    }
    if (unit.requested || !stage.whole) return true;
    unit.requested = true;
    counts.requested += unit.bytes;
    for (const Range& range : unit.ranges) {
        const std::size_t lead = past(range.begin, kPage);
        system::read_ahead(range.begin - lead, lead + range.size);
    }
    return true;
}

void Pager::start(std::int64_t wanted) {
    heads_ = wanted > 0;
    now_ = 0;
    for (std::int64_t k = 0; k < std::min<std::int64_t>(2, std::ssize(stages_)); k++)
        if (at(stages_, k).firsts.empty())
            for (const std::size_t unit : at(stages_, k).units) take(at(stages_, k), unit, 1);
}

void Pager::reach(std::size_t op) {
    if (stage_of_[op] < 0) return;
    now_ = stage_of_[op];
    look_ahead();
}

// Makes room for the next stage, and requests later ones as far as the room reserved for that allows.
void Pager::look_ahead() {
    std::int64_t ahead = 0;
    for (std::int64_t k = next(now_); k != now_; k = next(k)) {
        Stage& stage = at(stages_, k);
        if (stage.is_head && !heads_) continue;
        const bool must = k == next(now_) && stage.firsts.empty();
        for (const std::size_t number : stage.units) {
            if (units_[number].left_out > 0) continue;  // an expert that the rows before did without
            if (!take(stage, number, must ? 1 : distance(k))) return;
            ahead += units_[number].bytes;
        }
        if (ahead > ahead_) return;
    }
}

void Pager::choose(std::size_t op, const std::vector<ExpertRows>& experts) {
    if (stage_of_[op] < 0) return;
    now_ = stage_of_[op];
    Stage& stage = at(stages_, now_);
    for (const std::size_t unit : stage.units) units_[unit].left_out++;
    std::vector<std::size_t> used;
    for (const ExpertRows& some : experts)
        for (std::size_t i = at(stage.firsts, some.expert); i < at(stage.firsts, some.expert + 1); i++)
            used.push_back(stage.units[i]);
    for (const std::size_t unit : used) units_[unit].left_out = 0;
    for (const std::size_t unit : used) take(stage, unit, 1);
}

}  // namespace intact
