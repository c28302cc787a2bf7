#include "pair_table.h"

namespace fastrnn::word2vec {

void PairTable::grow() {
  std::vector<PairCount> old(slots_.size() * 2);
  old.swap(slots_);
  --shift_;
  for (const PairCount& slot : old)
    if (slot.first >= 0) slots_[place(slot.pair)] = slot;
}

}  // namespace fastrnn::word2vec
