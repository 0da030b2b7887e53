// The door between Python and the kernels: the only file that knows nanobind.
#include <nanobind/nanobind.h>

#include "cpu.hpp"

namespace nb = nanobind;

static nb::tuple cpu_features() {
    nb::list words;
    for (const auto& feature : solvent::kFeatureWords)
        if (solvent::cpu_features().*feature.present) words.append(feature.word);
    return nb::tuple(words);
}

static nb::tuple feature_words() {
    nb::list words;
    for (const auto& feature : solvent::kFeatureWords) words.append(feature.word);
    return nb::tuple(words);
}

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of solvent; reached through solvent.machine.native.";
    m.def("cpu_features", &cpu_features, "Words of the features that this CPU has and its system permits.");
    m.def("feature_words", &feature_words, "Words of all features that detection knows.");
}
